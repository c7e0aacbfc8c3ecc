// docs.test.mjs - what the texts say is so: reference pages are the binary's own, links lead somewhere, names exist.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runWeir, tempFolder } from './support.mjs';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const read = (name) => readFileSync(path.join(top, name), 'utf8');
const files = execFileSync('find', ['.', '-type', 'f', '-not', '-path', './.git/*', '-not', '-path', './node_modules/*',
    '-not', '-path', './build*'], { cwd: top, encoding: 'utf8' }).trim().split('\n').map((f) => f.slice(2));
const pages = files.filter((f) => f.endsWith('.md'));

describe('reference pages', () => {
    const made = { 'docs/errors.md': ['docs', 'errors'], 'docs/metrics.md': ['docs', 'metrics'],
        'docs/settings.md': ['docs', 'settings'], 'weir.conf.example': ['config', 'example'] };
    for (const [file, args] of Object.entries(made)) {
        test(`${file} is what the binary prints`, async () => {
            const { code, stdout } = await runWeir(args);
            assert.equal(code, 0);
            assert.equal(read(file), stdout, `weir ${args.join(' ')} > ${file}`);
        });
    }

    test('a page that does not exist is told', async () => {
        for (const args of [['docs'], ['docs', 'none'], ['docs', 'errors', 'metrics']]) {
            const { code, stdout, stderr } = await runWeir(args);
            assert.equal(code, 2);
            assert.equal(stdout, '');
            assert.match(stderr, /errors\|metrics\|settings/);
        }
    });

    test('the example of settings is accepted with each of its lines, and refused with one that is wrong', async (t) => {
        const file = path.join(tempFolder(), 'weir.conf');
        const all = read('weir.conf.example').replace(/^#(?=[a-z-]+ =)/gm, '');
        const check = () => runWeir(['config', 'check', '--config', file, '--resources', path.join(top, 'examples/resources')]);
        writeFileSync(file, all);
        assert.equal((await check()).code, 0);
        writeFileSync(file, all.replace('idle-timeout', 'idle-time'));
        const { code, stderr } = await check();
        assert.notEqual(code, 0);
        assert.match(stderr, /weir\.conf:\d+.*idle-time/);
    });
});

describe('texts', () => {
    test('lead somewhere with every link', () => {
        let n = 0;
        for (const page of pages) {
            for (const [, target] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
                if (/^[a-z]+:/.test(target)) continue;
                n++;
                const file = path.join(path.dirname(page), target.split('#')[0]);
                assert.ok(existsSync(path.join(top, file)), `${page}: ${target}`);
            }
        }
        assert.ok(n > 20);
    });

    test('name only files, functions and tests that exist', () => {
        const code = files.filter((f) => /^(src|tests|tools|bench)\/|^(meson\.build|Makefile)$/.test(f) && !/\.jsonl$|seeds/.test(f))
            .map((f) => read(f)).join('\n') + files.join('\n');
        const words = new Set(code.match(/[A-Za-z_][A-Za-z0-9_]*/g));
        let n = 0;
        for (const page of pages.filter((p) => p === 'ARCHITECTURE.md' || p === 'SECURITY.md' || p.startsWith('docs/'))) {
            for (const [, said] of read(page).matchAll(/`([^`\n]+)`/g)) {
                if (/^(src|tests|tools|docs|data|examples)\/[\w./-]+$/.test(said)) {
                    n++;
                    assert.ok(files.some((f) => f === said || f.startsWith(`${said.replace(/\/$/, '')}/`)), `${page}: no file ${said}`);
                } else if (!said.startsWith('x_') && /^[a-z0-9]+(_[a-z0-9]+)+$|^[A-Z]+(_[A-Z]+)+$/.test(said)) {
                    n++;
                    assert.ok(words.has(said), `${page}: nothing is called ${said}`);
                }
            }
        }
        assert.ok(n > 100);
    });
});
