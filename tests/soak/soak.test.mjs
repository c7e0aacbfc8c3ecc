// soak.test.mjs - the gateway under mixed load for SOAK_SECONDS: what it holds must not grow, and the books must balance.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { delay, freePort, spawnSimulator, until, weirBin } from '../e2e/support.mjs';

const seconds = Number(process.env.SOAK_SECONDS ?? 60);
const workers = 32;
// Sanitizers keep freed memory for a while, so what the process holds says nothing.
const isSanitized = fs.readFileSync(weirBin).includes('__sanitizer_');
const key = 'soak-key-number-1';
const account = '/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/soak' +
    '/providers/Microsoft.CognitiveServices/accounts/soak';

function deployment(name, sku, capacity) {
    return {
        id: `${account}/deployments/${name}`,
        sku: { name: sku, capacity },
        properties: { model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' } },
    };
}

function resources(backends) {
    return [
        { id: '/providers/Weir.Capacity/locations/eastus', properties: { displayName: 'East US', dataZone: 'us' } },
        {
            id: '/providers/Weir.Capacity/pools/local', location: 'eastus',
            properties: { ptus: 100000, models: [{ name: 'gpt-4o', version: '2024-08-06' }] },
        },
        ...backends.map((url, i) => (
            { id: `/providers/Weir.Capacity/pools/local/backends/b${i}`, properties: { url } })),
        { id: '/subscriptions/00000000-0000-0000-0000-000000000001', displayName: 'Soak' },
        {
            id: account, kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' },
            properties: { customSubDomainName: 'soak', keys: { key1: key, key2: 'soak-key-number-2' } },
        },
        deployment('wide', 'ProvisionedManaged', 50000),
        deployment('narrow', 'ProvisionedManaged', 50), // refuses most of what it gets
        deployment('standard', 'GlobalStandard', 100),
    ];
}

// Small and repeatable, so that two runs ask the same.
function makeRandom(seed) {
    let s = seed;
    return (n) => {
        s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
        return Math.floor((s / 2 ** 32) * n);
    };
}

const agent = new http.Agent({ keepAlive: true, maxSockets: workers * 2 });

// One call; resolves with its status, or 'left' when it hung up half-way, as `leave` orders.
function call(base, name, body, leave) {
    return new Promise((resolve, reject) => {
        const text = typeof body === 'string' ? body : JSON.stringify(body);
        const request = http.request(
            `${base}/openai/deployments/${name}/chat/completions?api-version=2024-10-21`,
            {
                agent, method: 'POST',
                headers: { 'api-key': key, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
            },
            (response) => {
                response.on('data', () => {
                    if (leave) {
                        resolve('left');
                        request.destroy();
                    }
                });
                response.on('end', () => resolve(response.statusCode));
                response.on('error', () => resolve('cut'));
            });
        request.on('error', (e) => (leave ? resolve('left') : reject(e)));
        request.end(text);
    });
}

async function readMetrics(ops) {
    const text = await (await fetch(`${ops}/metrics`)).text();
    const values = text.split('\n').filter((l) => l && !l.startsWith('#')).map((l) => {
        const at = l.lastIndexOf(' ');
        return [l.slice(0, at), Number(l.slice(at + 1))];
    });
    return {
        text,
        sum: (name) => values.filter(([k]) => k === name || k.startsWith(`${name}{`)).reduce((a, [, v]) => a + v, 0),
    };
}

function holdings(pid) {
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    return {
        rssKib: Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]),
        descriptors: fs.readdirSync(`/proc/${pid}/fd`).length,
        threads: Number(/^Threads:\s+(\d+)/m.exec(status)[1]),
    };
}

test(`holds steady for ${seconds} seconds and settles every call`, { timeout: (seconds + 120) * 1000 }, async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-soak-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const sims = [
        await spawnSimulator(t, '--profile', 'instant'),
        await spawnSimulator(t, '--profile', 'fast', '--fault', '500:0.01,disconnect:0.01,reset:0.01,429:0.01'),
    ];
    fs.writeFileSync(path.join(folder, 'resources.json'), JSON.stringify(resources(sims.map((s) => s.url))));
    const base = `http://127.0.0.1:${await freePort()}`, ops = `http://127.0.0.1:${await freePort()}`;
    const weir = spawn(weirBin, ['serve', '--resources', path.join(folder, 'resources.json'), '--data-dir', folder,
        '--listen', base.slice(7), '--ops-listen', ops.slice(7)], { stdio: ['ignore', 'inherit', 'inherit'] });
    const ended = once(weir, 'close');
    t.after(() => weir.kill('SIGKILL'));
    await until(async () => (await fetch(`${ops}/readyz`).catch(() => ({}))).status === 200, 10000);
    const before = holdings(weir.pid);

    const end = performance.now() + seconds * 1000;
    const seen = {};
    let sent = 0;
    async function work(seed) {
        const random = makeRandom(seed);
        while (performance.now() < end) {
            const kind = random(100);
            const body = {
                stream: random(2) === 0, max_tokens: 1 + random(60),
                messages: [{ role: 'user', content: 'A river '.repeat(1 + random(200)) }],
            };
            let status;
            sent++;
            if (kind < 60) status = await call(base, 'wide', body);
            else if (kind < 75) status = await call(base, 'narrow', { ...body, max_tokens: 4000 });
            else if (kind < 85) status = await call(base, 'standard', body);
            else if (kind < 95) status = await call(base, 'wide', { ...body, stream: true, max_tokens: 400 }, true);
            else if (kind < 98) status = await call(base, 'none', body);
            else status = await call(base, 'wide', '{"messages": ');
            seen[status] = (seen[status] ?? 0) + 1;
        }
    }
    const working = Promise.all(Array.from({ length: workers }, (_, i) => work(i + 1)));

    const samples = [];
    const watching = (async () => {
        while (performance.now() < end) {
            await delay(Math.min(5000, seconds * 50));
            samples.push(holdings(weir.pid));
        }
    })();
    await working;
    await watching;
    agent.destroy();
    t.diagnostic(`${sent} calls: ${JSON.stringify(seen)}`);

    // Calls whose callers left are settled too, when their backends have answered or been given up.
    await until(async () => (await readMetrics(ops)).sum('weir_calls_in_flight') === 0, 30000);
    const m = await readMetrics(ops);
    const after = await until(() => {
        const h = holdings(weir.pid);
        return h.descriptors < before.descriptors + 2 * workers ? h : null; // pooled connections to backends may stay
    }, 10000);

    assert.ok(seen[200] > sent / 4, 'most calls are served');
    assert.ok(seen[429] > 0, 'the narrow deployment refuses');
    assert.ok(seen[404] > 0 && seen[400] > 0, 'bad calls are told so');
    assert.equal(m.sum('weir_calls_total'), m.sum('weir_access_log_lines_total'), 'each call has one line');
    assert.ok(m.sum('weir_calls_total') <= sent && m.sum('weir_calls_total') >= sent - (seen.left ?? 0),
        'each call is counted once');

    // The first third warms caches and pools; from then on memory and descriptors keep their level.
    const third = Math.ceil(samples.length / 3);
    const worst = (list, k) => Math.max(...list.map((s) => s[k]));
    const early = samples.slice(third, 2 * third), late = samples.slice(2 * third);
    t.diagnostic(`KiB at start ${before.rssKib}, middle ${worst(early, 'rssKib')}, late ${worst(late, 'rssKib')}, ` +
        `end ${after.rssKib}; descriptors ${before.descriptors} to ${after.descriptors}`);
    if (!isSanitized)
        assert.ok(worst(late, 'rssKib') < worst(early, 'rssKib') * 1.1 + 2048, 'memory keeps its level');
    assert.ok(worst(late, 'descriptors') <= worst(early, 'descriptors') + 16, 'descriptors keep their level');
    assert.equal(after.threads, early[0].threads, 'threads keep their number');

    weir.kill('SIGTERM');
    const [code, signal] = await ended;
    assert.deepEqual({ code, signal }, { code: 0, signal: null });
});
