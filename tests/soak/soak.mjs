// soak.mjs - one drive and its audit as a test: each check of ledger.py is a test of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tempFolder } from '../e2e/support.mjs';
import { drive } from './drive.mjs';

const ledger = path.join(path.dirname(fileURLToPath(import.meta.url)), 'ledger.py');

// Drives for about `seconds`, and 15 more for what surrounds it. $SOAK_FOLDER names a folder that is to stay, for a
// reading of its own by ledger.py.
export function soak({ seconds, seed }) {
    const timeout = (seconds * 2 + 180) * 1000;
    return test(`after ${seconds} seconds of random calls, aborts, faults, resizes and signals`, { timeout }, async (t) => {
        const folder = process.env.SOAK_FOLDER ?? tempFolder();
        const { counts } = await drive({ folder, seconds, seed, say: (text) => t.diagnostic(text) });
        t.diagnostic(JSON.stringify(counts));
        const audit = spawnSync('python3', [ledger, folder], { encoding: 'utf8', maxBuffer: 1 << 28 });
        const checks = [];
        for (const line of audit.stdout.split('\n')) {
            const check = /^(ok|not ok) - (.*)/.exec(line);
            if (check) checks.push({ name: check[2], isGood: check[1] === 'ok', details: [] });
            else if (line.startsWith('#  ')) checks.at(-1).details.push(line.slice(4));
            else if (line.startsWith('#')) t.diagnostic(line.slice(2));
        }
        assert.ok(checks.length > 15, `the audit stopped early\n${audit.stdout}${audit.stderr}`);
        for (const { name, isGood, details } of checks)
            await t.test(name, () => assert.ok(isGood, details.join('\n')));
        assert.equal(audit.status, 0, audit.stdout + audit.stderr);
    });
}
