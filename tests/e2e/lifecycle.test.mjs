// lifecycle.test.mjs - the process from its start to its end: settings, signals, reloads, restarts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, readFileSync, readSync, renameSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
    answerBytes, apiKey, chatCall, chatTarget, chunk, completionOf, delay, deltaOf, deployment, eventOf, fakeBackend, freePort, lastChunk,
    rawConnection, readLines, requestBytes, resourceSet, runWeir, spawnGateway, spawnSimulator, streamHead, tempFolder, until, usageOf,
    usualDeployments,
} from './support.mjs';

const hello = { messages: [{ role: 'user', content: 'Hello' }] };

// A backend whose streams wait for release() before they end.
async function patientBackend(t) {
    const waiting = [];
    const backend = await fakeBackend(t, (r) => {
        r.write(Buffer.concat([Buffer.from(streamHead()), chunk(eventOf(deltaOf('begun')))]));
        waiting.push(r);
    });
    backend.release = () => {
        for (const r of waiting.splice(0))
            r.write(Buffer.concat([
                chunk(eventOf(deltaOf(' and done'))), chunk(eventOf({ choices: [], usage: usageOf(10, 20) })), chunk(eventOf('[DONE]')), Buffer.from(lastChunk)]));
    };
    return backend;
}

async function openStream(gateway) {
    const c = rawConnection(gateway.url);
    c.write(requestBytes(chatTarget(), { ...hello, stream: true }));
    await until(() => c.bytes().includes('begun'));
    return c;
}

function connects(url) {
    return new Promise((resolve) => {
        const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
        socket.on('connect', () => {
            socket.destroy();
            resolve(true);
        });
        socket.on('error', () => resolve(false));
    });
}

describe('SIGTERM', () => {
    for (const loops of [1, 3]) {
        test(`lets open streams finish, takes no new connections, and ends with 0 and a whole log (${loops} loops)`, async (t) => {
            const backend = await patientBackend(t);
            const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]), loops });
            const streams = await Promise.all(Array.from({ length: 6 }, () => openStream(gateway)));
            const idle = rawConnection(gateway.url);
            idle.write(requestBytes('/v1/models', undefined));
            assert.equal((await idle.response()).status, 200);
            gateway.signal('SIGTERM');
            await until(async () => !(await connects(gateway.url)));
            await until(() => idle.hasEnded());
            assert.equal((await fetch(`${gateway.opsUrl}/readyz`)).status, 503);
            assert.equal((await fetch(`${gateway.opsUrl}/healthz`)).status, 200);
            assert.ok(!gateway.hasEnded());
            backend.release();
            for (const c of streams) {
                const answer = await c.response();
                assert.ok(answer.body.endsWith('data: [DONE]\n\n'));
                await until(() => c.hasEnded());
                c.destroy();
            }
            idle.destroy();
            assert.deepEqual(await gateway.ended, { code: 0, signal: null });
            const lines = gateway.lines().filter((l) => l.operation === 'chat.completions');
            assert.equal(lines.length, 6);
            assert.ok(lines.every((l) => l.outcome === 'ok' && l.chargeMt === 10000 + 60000));
        });
    }

    test('after the grace cuts what is left, and settles it', async (t) => {
        const backend = await patientBackend(t);
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]), args: ['--drain-grace', '300ms'] });
        const stream = await openStream(gateway);
        const start = performance.now();
        gateway.signal('SIGTERM');
        assert.deepEqual(await gateway.ended, { code: 0, signal: null });
        const took = performance.now() - start;
        assert.ok(took >= 290 && took < 15000, `${took} ms`); // and not until the stream ends, which it never does
        await until(() => stream.hasEnded());
        assert.ok(!stream.bytes().includes('[DONE]'));
        assert.equal(await stream.response({ ms: 50 }).catch(() => null), null, 'the stream looks whole');
        const lines = gateway.lines();
        assert.equal(lines.length, 1);
        assert.equal(lines[0].outcome, 'shutting_down');
        assert.equal(lines[0].chargeMt, lines[0].promptEstimate * 1000 + 3000);
        await until(() => backend.connections[0].closedAt);
    });

    for (const [when, signals] of [['the grace', 1], ['a second one', 2]]) {
        test(`answers the calls that still wait after ${when} with 503`, async (t) => {
            const backend = await fakeBackend(t, () => {});
            const gateway = await spawnGateway(t, {
                resources: resourceSet([backend.url]), loops: 2, args: ['--drain-grace', signals === 1 ? '200ms' : '60s'],
            });
            const waiting = Array.from({ length: 8 }, (_, i) => {
                const c = rawConnection(gateway.url);
                c.write(requestBytes(chatTarget(), { ...hello, stream: i % 2 === 0 }));
                return c;
            });
            const halfSent = rawConnection(gateway.url);
            halfSent.write(requestBytes(chatTarget(), hello).subarray(0, -5));
            await until(() => backend.requests.length === 8);
            await until(async () => (await gateway.metric('weir_calls_in_flight')) === 9);
            gateway.signal('SIGTERM');
            await until(() => gateway.stderr().includes('finishing the calls in hand'));
            if (signals === 2) gateway.signal('SIGTERM');
            for (const c of [...waiting, halfSent]) {
                const answer = await c.response();
                assert.equal(answer?.status, 503);
                assert.equal(answer.headers.connection, 'close');
                assert.equal(answer.json().error.code, 'ServiceUnavailable');
                await until(() => c.hasEnded());
                c.destroy();
            }
            assert.deepEqual(await gateway.ended, { code: 0, signal: null });
            const lines = gateway.lines();
            assert.equal(lines.length, 9);
            assert.ok(lines.every((l) => l.status === 503 && l.outcome === 'shutting_down' && !l.chargeMt), JSON.stringify(lines));
            await until(() => backend.connections.every((c) => c.closedAt));
        });
    }

    test('given twice ends at once', async (t) => {
        const backend = await patientBackend(t);
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        await openStream(gateway);
        gateway.signal('SIGTERM');
        await until(() => gateway.stderr().includes('finishing the calls in hand'));
        gateway.signal('SIGTERM');
        assert.deepEqual(await gateway.ended, { code: 0, signal: null });
        assert.equal(gateway.lines().length, 1);
    });
});

// Answers of many sizes for clients that read nothing: with some of them the end has left the backend, but stands in our
// queue, since the kernel's buffers are full. Gives the clients, and the sizes of the answers that were logged as sent.
async function unreadAnswers(t, headers) {
    const step = 128 << 10;
    const backend = await fakeBackend(t, (r) => r.write(answerBytes(`{"pad":"${'p'.repeat(Number(r.headers['x-size']))}"}`)));
    const gateway = await spawnGateway(t, {
        resources: resourceSet([backend.url], [deployment('standard', { sku: 'Standard', capacity: 50000 })]),
    });
    const clients = [];
    for (let i = 1; i <= 48; i++) {
        const c = rawConnection(gateway.url);
        c.socket.pause();
        c.size = i * step;
        c.write(requestBytes(chatTarget('standard'), hello, { headers: { 'x-size': c.size, ...headers } }));
        clients.push(c);
    }
    for (let last = -1, now = 0; last !== now || now === 0; await delay(400)) {
        last = now;
        now = gateway.lines().length;
    }
    return { gateway, clients, sent: new Set(gateway.lines().map((l) => l.bytesOut)) };
}

async function assertAllArrive(clients, sent) {
    for (const c of clients) c.socket.resume();
    for (const c of clients) {
        const answer = await c.response();
        const size = c.size + '{"pad":""}'.length;
        if (sent.has(size)) assert.equal(answer?.body.length, size, 'an answer that was logged as complete did not arrive');
        c.destroy();
    }
}

describe('a client that is slow to read the end of its answer gets it all the same', () => {
    test('when it asked for the end of the connection', async (t) => {
        const { clients, sent } = await unreadAnswers(t, { connection: 'close' });
        await delay(3000); // longer than a finished connection waits for its peer's goodbye
        await assertAllArrive(clients, sent);
    });

    test('when the process is about to end', async (t) => {
        const { gateway, clients, sent } = await unreadAnswers(t, {});
        gateway.signal('SIGTERM');
        await delay(3000);
        await assertAllArrive(clients, sent);
        assert.deepEqual(await gateway.ended, { code: 0, signal: null });
    });
});

describe('SIGHUP', () => {
    test('brings new deployments, takes removed ones away, and resizes with the level kept', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const gateway = await spawnGateway(t, { resources: resourceSet([sim.url], [deployment('ptu'), deployment('old')]), loops: 2 });
        assert.equal((await chatCall(gateway, hello, { to: 'old' })).status, 200);
        assert.equal((await chatCall(gateway, hello, { to: 'new' })).status, 404);
        // Enough that a slow machine finds much of it left.
        await (await chatCall(gateway, { ...hello, max_tokens: 60000 }, { headers: { 'x-sim-output-tokens': '60000' } })).arrayBuffer();
        await until(async () => (await gateway.debug()).inFlight === 0);
        const before = await gateway.debug();
        assert.ok(before.levelMt > 120e6);
        assert.equal(await gateway.configure(resourceSet([sim.url], [deployment('ptu', { capacity: 100 }), deployment('new')])), true);
        await until(async () => (await chatCall(gateway, hello, { to: 'new' })).status === 200);
        await until(async () => (await chatCall(gateway, hello, { to: 'old' })).status === 404);
        const after = await gateway.debug();
        assert.equal(after.capacity, 100);
        assert.equal(after.rateMtPerMinute, 2 * before.rateMtPerMinute);
        assert.equal(after.depthMt, 2 * before.depthMt);
        // Between the two looks it drained at one of the two rates; nothing else happened to it.
        const drained = before.levelMt - after.levelMt;
        assert.ok(drained >= 0 && drained < before.levelMt / 2, `${drained} of ${before.levelMt}`);
        assert.equal(after.finishMt, before.finishMt);
        assert.equal(after.chargedMt, before.chargedMt);
        assert.equal((await fetch(`${gateway.opsUrl}/readyz`)).status, 200);
    });

    test('with a broken file keeps the old configuration and says what is wrong where', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const good = resourceSet([sim.url]);
        const gateway = await spawnGateway(t, { resources: good });
        const file = path.join(gateway.folder, 'resources.json');
        for (const [broken, text] of [
            ['[{"id": ', /resources\.json:/],
            [JSON.stringify([...good, { id: '/nonsense' }]), /resources\.json:.*nonsense/],
            [JSON.stringify([...good, deployment('x', { capacity: 51 })]), /resources\.json:.*capacity.*51 is no size.*50 and 100/],
        ]) {
            assert.equal(await gateway.configure(broken), false);
            assert.match(gateway.stderr().split('\n').at(-2), /^weir: configuration not reloaded, the old one stays: /);
            assert.match(gateway.stderr().split('\n').at(-2), text);
            assert.equal((await chatCall(gateway, hello)).status, 200);
        }
        renameSync(file, `${file}.away`);
        const said = gateway.stderr().length;
        gateway.signal('SIGHUP');
        await until(() => /not reloaded.*No such file/.test(gateway.stderr().slice(said)));
        assert.equal((await chatCall(gateway, hello)).status, 200);
        assert.equal(await gateway.configure(good), true);
    });

    test('loses no call under load, whatever changes, and the sums stay exact', async (t) => {
        const sims = [await spawnSimulator(t, '--profile', 'instant'), await spawnSimulator(t, '--profile', 'instant')];
        const variants = [
            resourceSet([sims[0].url], [deployment('ptu', { capacity: 20000 })]),
            resourceSet([sims[1].url], [deployment('ptu', { capacity: 10000 }), deployment('other')]),
            resourceSet([sims[0].url, sims[1].url], [deployment('ptu', { capacity: 20000 })]),
        ];
        const gateway = await spawnGateway(t, { resources: variants[0], loops: 2 });
        let isOver = false, n = 0;
        const callers = Array.from({ length: 8 }, async (_, k) => {
            while (!isOver) {
                const response = await chatCall(gateway, { ...hello, stream: k % 2 === 0, max_tokens: 20 });
                const text = await response.text();
                assert.equal(response.status, 200, text);
                assert.ok(k % 2 ? JSON.parse(text).usage : text.endsWith('data: [DONE]\n\n'));
                n++;
            }
        });
        for (let i = 1; i <= 12; i++) {
            assert.equal(await gateway.configure(variants[i % 3]), true);
            const goal = n + 40;
            await until(() => n >= goal);
        }
        isOver = true;
        await Promise.all(callers);
        const lines = await gateway.settled(n);
        assert.equal(lines.length, n);
        await until(async () => (await gateway.debug()).inFlight === 0);
        const debug = await gateway.debug();
        assert.equal(debug.chargedMt, lines.reduce((sum, l) => sum + l.chargeMt, 0));
        assert.equal(debug.admitted, n);
    });

    test('sent many times at once ends with the newest file', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const gateway = await spawnGateway(t, { resources: resourceSet([sim.url]) });
        const file = path.join(gateway.folder, 'resources.json');
        for (let i = 1; i <= 30; i++) {
            // Replaced whole, as an operator should: a reader never sees half of it.
            writeFileSync(`${file}.new`, JSON.stringify(resourceSet([sim.url], [deployment(`d${i}`)])));
            renameSync(`${file}.new`, file);
            gateway.signal('SIGHUP');
        }
        await until(async () => (await chatCall(gateway, hello, { to: 'd30' })).status === 200);
        assert.equal((await chatCall(gateway, hello, { to: 'd29' })).status, 404);
    });

    test('leaves running calls on the backend that is being removed', async (t) => {
        const backend = await patientBackend(t);
        const other = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('from the other', usageOf(1, 1)))));
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const stream = await openStream(gateway);
        assert.equal(await gateway.configure(resourceSet([other.url], [])), true);
        assert.equal((await chatCall(gateway, hello)).status, 404);
        backend.release();
        assert.ok((await stream.response()).body.endsWith('data: [DONE]\n\n'));
        stream.destroy();
        const line = (await gateway.settled(2)).find((l) => l.status === 200);
        assert.equal(line.chargeMt, 10000 + 60000);
        await until(() => backend.connections[0].closedAt); // not kept for a backend that is no more
    });

    test('reads a folder of files', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const folder = tempFolder();
        mkdirSync(path.join(folder, 'resources.d'));
        const all = resourceSet([sim.url]);
        all.forEach((r, i) => writeFileSync(path.join(folder, 'resources.d', `${i}.json`), JSON.stringify(i % 2 ? r : { value: [r] })));
        writeFileSync(path.join(folder, 'resources.d', 'notes.txt'), 'not read');
        const gateway = await spawnGateway(t, { folder, args: ['--resources', path.join(folder, 'resources.d')] });
        assert.equal((await chatCall(gateway, hello)).status, 200);
        writeFileSync(path.join(folder, 'resources.d', 'more.json'), JSON.stringify([deployment('more')]));
        gateway.signal('SIGHUP');
        await until(async () => (await chatCall(gateway, hello, { to: 'more' })).status === 200);
    });
});

describe('SIGUSR1', () => {
    test('reopens the access log after it was renamed; no line is lost', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const gateway = await spawnGateway(t, { resources: resourceSet([sim.url], [deployment('ptu', { capacity: 20000 })]), loops: 2 });
        const old = [];
        let n = 0;
        for (let i = 0; i < 5; i++) {
            for (let k = 0; k < 10; k++, n++) await (await chatCall(gateway, hello)).arrayBuffer();
            const name = `${gateway.logFile}.${i}`;
            if (i === 0) await gateway.settled(1);
            renameSync(gateway.logFile, name);
            old.push(name);
            gateway.signal('SIGUSR1');
            await until(() => {
                try {
                    return statSync(gateway.logFile);
                } catch {
                    return false;
                }
            });
        }
        await (await chatCall(gateway, hello)).arrayBuffer();
        await gateway.stop();
        const lines = [...old.flatMap(readLines), ...gateway.lines()];
        assert.equal(lines.length, n + 1);
        assert.equal(new Set(lines.map((l) => l.id)).size, n + 1);
        assert.ok(gateway.lines().length >= 1);
    });

    test('keeps the old file when the new one cannot be made', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const folder = tempFolder();
        mkdirSync(path.join(folder, 'logs'));
        const log = path.join(folder, 'logs', 'access.log');
        const gateway = await spawnGateway(t, { folder, resources: resourceSet([sim.url]), args: ['--access-log', log] });
        renameSync(path.join(folder, 'logs'), path.join(folder, 'moved'));
        gateway.signal('SIGUSR1');
        await until(() => /cannot reopen .*access\.log: .*the old file stays/.test(gateway.stderr()));
        await (await chatCall(gateway, hello)).arrayBuffer();
        await until(() => readLines(path.join(folder, 'moved', 'access.log')).length === 1);
    });
});

describe('the access log', () => {
    test('may be a pipe; one that nobody reads is refused at the start, by name', async (t) => {
        const pipe = path.join(tempFolder(), 'log.pipe');
        execFileSync('mkfifo', [pipe]);
        const resources = resourceSet(['http://127.0.0.1:9']);
        const refused = await spawnGateway(t, { resources, args: ['--access-log', pipe], mayFail: true });
        assert.equal((await refused.ended).code, 1);
        assert.match(refused.stderr(), /cannot open .*log\.pipe for writing: it is a pipe that nobody reads/);
        // A reader, who begins to read only later: what the pipe cannot hold waits for him.
        const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
        const gateway = await spawnGateway(t, { resources, args: ['--access-log', pipe] });
        const client = rawConnection(gateway.url);
        const n = 400;
        for (let i = 0; i < n; i++) client.write(requestBytes('/openai/models?api-version=2024-10-21', undefined, { headers: { 'api-key': 'nobodys' } }));
        for (let i = 0; i < n; i++) assert.equal((await client.response()).status, 401);
        client.destroy();
        await until(async () => (await gateway.metric('weir_access_log_lines_total')) === n);
        const end = gateway.stop(60000);
        let text = '';
        const piece = Buffer.alloc(65536);
        const giveUp = performance.now() + 60000;
        while (text.split('\n').length - 1 < n) {
            assert.ok(performance.now() < giveUp, `${text.split('\n').length - 1} lines came`);
            let got = 0;
            try {
                got = readSync(fd, piece);
            } catch (e) {
                if (e.code !== 'EAGAIN') throw e;
            }
            if (got === 0) await delay(10);
            text += piece.subarray(0, got);
        }
        closeSync(fd);
        assert.deepEqual(await end, { code: 0, signal: null });
        assert.ok(text.trimEnd().split('\n').every((l) => JSON.parse(l).status === 401));
    });

    test('in a pipe whose reader takes nothing does not keep the process from its end', async (t) => {
        const pipe = path.join(tempFolder(), 'log.pipe');
        execFileSync('mkfifo', [pipe]);
        const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
        t.after(() => closeSync(fd));
        const gateway = await spawnGateway(t, { resources: resourceSet(['http://127.0.0.1:9']), args: ['--access-log', pipe] });
        const client = rawConnection(gateway.url);
        const n = 400; // more than a pipe holds
        for (let i = 0; i < n; i++) client.write(requestBytes('/openai/models?api-version=2024-10-21', undefined, { headers: { 'api-key': 'nobodys' } }));
        for (let i = 0; i < n; i++) assert.equal((await client.response()).status, 401);
        client.destroy();
        assert.deepEqual(await gateway.stop(60000), { code: 0, signal: null });
        assert.match(gateway.stderr(), /cannot write to .*log\.pipe: .*; lines are lost/);
    });

    test('on a disk that is full keeps no call waiting, and counts what it lost', async (t) => {
        const gateway = await spawnGateway(t, { resources: resourceSet(['http://127.0.0.1:9']), args: ['--access-log', '/dev/full'] });
        const client = rawConnection(gateway.url);
        const n = 20;
        for (let i = 0; i < n; i++) {
            client.write(requestBytes('/openai/models?api-version=2024-10-21', undefined, { headers: { 'api-key': 'nobodys' } }));
            assert.equal((await client.response()).status, 401);
        }
        client.destroy();
        await until(async () => (await gateway.metric('weir_access_log_lost_lines_total')) === n);
        assert.equal(await gateway.metric('weir_access_log_lines_total'), n);
        assert.equal(gateway.stderr().match(/cannot write to \/dev\/full: .*; lines are lost/g).length, 1);
    });

    test('never holds content or keys', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const gateway = await spawnGateway(t, { resources: resourceSet([sim.url]) });
        await (await chatCall(gateway, { messages: [{ role: 'user', content: '[[echo:SECRET-ANSWER]] SECRET-QUESTION' }] },
            { headers: { 'x-secret': 'SECRET-FIELD' } })).arrayBuffer();
        await (await chatCall(gateway, hello, { headers: { 'api-key': 'SECRET-KEY' } })).arrayBuffer();
        await (await chatCall(gateway, '{"messages":"SECRET-BROKEN"', {})).arrayBuffer();
        await gateway.settled(3);
        const text = readFileSync(gateway.logFile, 'utf8') + gateway.stderr();
        assert.ok(!text.includes('SECRET') && !text.includes(apiKey), text);
    });

    test('may be standard output, or nowhere', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const none = await spawnGateway(t, { resources: resourceSet([sim.url]), args: ['--access-log', 'none'] });
        assert.equal((await chatCall(none, hello)).status, 200);
        await none.stop();
        assert.deepEqual(none.lines(), []);
    });
});

describe('levels', () => {
    // About 90,000 tokens of 125,000, at 2,083 a second.
    const work = async (gateway) => {
        await (await chatCall(gateway, { ...hello, max_tokens: 30000 }, { headers: { 'x-sim-output-tokens': '30000' } })).arrayBuffer();
        await until(async () => (await gateway.debug()).inFlight === 0);
        return gateway.debug();
    };
    const rate = 125e6 / 60; // mt a second

    for (const signal of ['SIGTERM', 'SIGKILL']) {
        test(`survive a restart after ${signal}`, async (t) => {
            const sim = await spawnSimulator(t, '--profile', 'instant');
            const folder = tempFolder();
            const first = await spawnGateway(t, { folder, resources: resourceSet([sim.url]) });
            const earliest = performance.now();
            const before = await work(first);
            const at = performance.now(), wallAt = Date.now(); // somewhere between the two the level was read
            assert.ok(before.levelMt > 20e6);
            if (signal === 'SIGKILL') await until(() => savedSince(folder, wallAt)); // levels are saved every second
            first.signal(signal);
            await first.ended;
            const second = await spawnGateway(t, { folder, resources: resourceSet([sim.url]) });
            const asked = performance.now();
            const after = await second.debug();
            // Never less than it would have been without the restart; after a crash a little more at most.
            const least = before.levelMt - (performance.now() - earliest) / 1000 * rate, most = before.levelMt - (asked - at) / 1000 * rate;
            assert.ok(after.levelMt >= least - 0.1 * rate, `${after.levelMt} instead of ${least} or more`);
            assert.ok(after.levelMt <= before.levelMt, `${after.levelMt} after ${before.levelMt}`);
            assert.ok(after.levelMt <= most + 2.5 * rate, `${after.levelMt} instead of ${most} or less`);
        });
    }

    // Whether the file has levels of a later moment; they are written some time after that.
    const savedSince = (folder, wallMs) => readLines(path.join(folder, 'data', 'levels.jsonl')).at(-1)?.savedAtUs / 1000 > wallMs;

    test('of a new deployment begin empty; one whose record is lost begins half full', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const folder = tempFolder();
        const first = await spawnGateway(t, { folder, resources: resourceSet([sim.url]) });
        assert.equal((await first.debug()).levelMt, 0);
        await work(first);
        await first.stop();
        const file = path.join(folder, 'data', 'levels.jsonl');
        const text = readFileSync(file, 'utf8');
        assert.ok(text.includes('deployments/ptu'));
        // The record of the one deployment is damaged.
        writeFileSync(file, text.split('\n').map((l) => (l.includes('deployments/ptu') ? l.slice(0, l.length / 2) : l)).join('\n'));
        const started = performance.now();
        const second = await spawnGateway(t, { folder, resources: resourceSet([sim.url], [...usualDeployments(), deployment('fresh')]) });
        assert.match(second.stderr(), /warning.*levels\.jsonl/);
        assert.equal((await second.debug('fresh')).admitted, 0);
        const { levelMt, depthMt } = await second.debug();
        const drained = (performance.now() - started) / 1000 * rate;
        assert.ok(levelMt <= depthMt / 2 && levelMt >= depthMt / 2 - drained, `${levelMt} of ${depthMt}`);
    });

    test('a file of garbage is told, and does not keep the gateway from serving', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        for (const garbage of ['', '\0\0\0\0', '{"', 'null\n', '[]\n', `{"levels":${'['.repeat(100000)}`, '{"id":"x","levelMt":1e999}\n']) {
            const folder = tempFolder();
            mkdirSync(path.join(folder, 'data'));
            writeFileSync(path.join(folder, 'data', 'levels.jsonl'), garbage);
            const gateway = await spawnGateway(t, { folder, resources: resourceSet([sim.url]) });
            const response = await chatCall(gateway, hello);
            assert.equal(response.status, 200, garbage.slice(0, 20));
            await response.arrayBuffer();
            assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
        }
    });

    test('are not kept without a data folder', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const gateway = await spawnGateway(t, { resources: resourceSet([sim.url]), args: ['--data-dir', 'none'] });
        assert.equal((await chatCall(gateway, hello)).status, 200);
        assert.deepEqual(await gateway.stop(), { code: 0, signal: null });
        assert.throws(() => statSync(path.join(gateway.folder, 'data')));
    });
});

describe('starting', () => {
    const files = (t, resources = resourceSet(['http://127.0.0.1:9'])) => {
        const folder = tempFolder();
        const file = path.join(folder, 'resources.json');
        writeFileSync(file, typeof resources === 'string' ? resources : JSON.stringify(resources));
        return { folder, file, data: path.join(folder, 'data') };
    };
    const serve = ({ file, data }, ...args) => runWeir(['serve', '--resources', file, '--data-dir', data, '--listen', '127.0.0.1:0', '--ops-listen', 'none', ...args]);

    test('a second time on the same port fails and says which', async (t) => {
        const first = await spawnGateway(t, { resources: resourceSet(['http://127.0.0.1:9']), loops: 2 });
        for (const [option, url] of [['--listen', first.url], ['--ops-listen', first.opsUrl]]) {
            const address = new URL(url).host;
            const { code, stderr } = await serve(files(t), option, address);
            assert.equal(code, 1);
            assert.ok(stderr.includes(`cannot listen on ${address}: Address already in use`), stderr);
        }
        assert.equal((await fetch(`${first.opsUrl}/healthz`)).status, 200);
    });

    test('with few files takes as many connections as it can serve, counts the others, and says so', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('x', usageOf(1, 1)))));
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]), files: 128 });
        assert.match(gateway.stderr(), /only 128 files may be open at once, so only 40 client connections instead of 20000/);
        const clients = Array.from({ length: 60 }, () => rawConnection(gateway.url));
        for (const c of clients) c.socket.on('error', () => {}).write(requestBytes(chatTarget(), { messages: [{ role: 'user', content: 'a' }], max_tokens: 5 }));
        const statuses = await Promise.all(clients.map(async (c) => (await Promise.race([c.response(), c.closed]))?.status));
        for (const c of clients) c.destroy();
        assert.equal(statuses.filter((s) => s === 200).length, 40, JSON.stringify(statuses));
        assert.equal(await gateway.metric('weir_refused_requests_total'), 20);
    });

    test('counts a backend\'s connection with each client\'s before it promises them', async (t) => {
        const resources = resourceSet(['http://127.0.0.1:9']);
        const few = await spawnGateway(t, { resources, files: 128, args: ['--max-connections', '41'] });
        assert.match(few.stderr(), /only 128 files .* only 40 client connections instead of 41 .* need 130 files/);
        const enough = await spawnGateway(t, { resources, files: 128, args: ['--max-connections', '40'] });
        assert.doesNotMatch(enough.stderr(), /files/);
    });

    test('with wrong settings fails with one line that names the setting', async (t) => {
        for (const [args, code, text] of [
            [['--listen', 'nowhere'], 1, /listen: "nowhere" is not an address; expected HOST:PORT/],
            [['--listen', '127.0.0.1:99999'], 1, /99999.*HOST:PORT/],
            [['--listen', 'no-such-host.invalid:80'], 1, /cannot listen on no-such-host\.invalid:80/],
            [['--listen', 'none'], 1, /neither listen nor tls-listen/],
            [['--loops', 'many'], 2, /--loops expects a whole number, not "many"/],
            [['--loops', '65'], 2, /--loops must be from 0 to 64, not 65/],
            [['--drain-grace', '5 minutes'], 2, /--drain-grace expects a duration such as 250ms, 10s or 5m/],
            [['--body-limit', '1T'], 2, /--body-limit expects a size such as 64k or 32M/],
            [['--head-timeout', '1ms'], 2, /--head-timeout must be from 100/],
            [['--listn', 'x'], 2, /unknown option --listn \(did you mean --listen\?\)/],
            [['--drian-grace=5s'], 2, /did you mean --drain-grace\?/],
            [['--xyzzy'], 2, /unknown option --xyzzy; weir serve --help lists them/],
            [['--loops'], 2, /--loops expects a value/],
            [['word'], 2, /unexpected word "word"/],
            [['--access-log', '/nowhere/x/access.log'], 1, /\/nowhere\/x\/access\.log/],
            [['--data-dir', '/proc/nothing'], 1, /\/proc\/nothing/],
        ]) {
            const { code: got, stderr } = await serve(files(t), ...args);
            assert.equal(got, code, `${args.join(' ')}: ${stderr}`);
            assert.match(stderr, text);
            assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
        }
    });

    test('without resources, or with none there, says so', async (t) => {
        const without = await runWeir(['serve', '--listen', '127.0.0.1:0', '--data-dir', 'none']);
        assert.equal(without.code, 1);
        assert.match(without.stderr, /--resources FILE or FOLDER is needed/);
        const folder = tempFolder();
        assert.match((await serve({ file: path.join(folder, 'none.json'), data: 'none' })).stderr, /none\.json: .*No such file/);
        assert.match((await serve({ file: folder, data: 'none' })).stderr, /has no \*\.json files/);
    });

    test('takes settings from a file, over which options go', async (t) => {
        const f = files(t);
        const port = await freePort();
        const conf = path.join(f.folder, 'weir.conf');
        writeFileSync(conf, `# how it runs here\nresources = ${f.file}\nlisten=127.0.0.1:${port}   # calls\n\n  loops = 1\naccess-log = none\nbody-limit = 2k\n`);
        const gateway = await spawnGateway(t, { folder: f.folder, args: ['--config', conf] });
        // spawnGateway gives --listen itself, which goes over the file; the body limit is the file's.
        assert.notEqual(new URL(gateway.url).port, String(port));
        assert.equal((await chatCall(gateway, { ...hello, user: 'x'.repeat(3000) })).status, 413);
        await gateway.stop();
        const { spawn } = await import('node:child_process');
        const { weirBin } = await import('./support.mjs');
        const child = spawn(weirBin, ['serve', '--config', conf, '--data-dir', f.data, '--ops-listen', 'none'], { stdio: 'ignore' });
        t.after(() => child.kill('SIGKILL'));
        await until(() => connects(`http://127.0.0.1:${port}`));
    });

    test('with a wrong settings file names file, line and cure', async (t) => {
        const f = files(t);
        const conf = path.join(f.folder, 'weir.conf');
        for (const [text, expected] of [
            ['listen 127.0.0.1:0\n', /weir\.conf:1: expected "setting = value"/],
            ['\n# x\nlisen = 127.0.0.1:0\n', /weir\.conf:3: there is no setting "lisen"; `weir config example` lists them/],
            ['loops = 1\nloops = x\n', /weir\.conf:2: loops expects a whole number, not "x"/],
            ['body-limit = 1\n', /weir\.conf:1: body-limit must be from 1024/],
            ['config = other.conf\n', /weir\.conf:1: there is no setting "config"/],
            ['= 5\n', /weir\.conf:1: /],
        ]) {
            writeFileSync(conf, text);
            const { code, stderr } = await serve(f, '--config', conf);
            assert.notEqual(code, 0);
            assert.match(stderr, expected);
        }
        assert.match((await serve(f, '--config', '/nowhere/weir.conf')).stderr, /\/nowhere\/weir\.conf: .*No such file/);
    });
});

describe('weir config', () => {
    const good = resourceSet(['http://127.0.0.1:9', { url: 'https://x.example/base', apiKey: 'SECRET-BACKEND-KEY' }]);
    const write = (t, resources) => {
        const file = path.join(tempFolder(), 'resources.json');
        writeFileSync(file, typeof resources === 'string' ? resources : JSON.stringify(resources, null, 1));
        return file;
    };

    test('check counts what is right', async (t) => {
        const { code, stdout, stderr } = await runWeir(['config', 'check', '--resources', write(t, good)]);
        assert.deepEqual([code, stderr], [0, '']);
        assert.equal(stdout, 'the configuration is valid: 1 accounts, 3 deployments, 2 backends\n');
    });

    test('check names file, place and cure of what is wrong', async (t) => {
        const dep = (more) => deployment('x', more);
        const change = (i, fn) => {
            const all = JSON.parse(JSON.stringify(good));
            fn(all[i], all);
            return all;
        };
        for (const [resources, ...texts] of [
            ['[\n{"id": "/providers/x",\n}]', /resources\.json/],
            ['', /resources\.json/],
            ['7', /resources\.json/],
            [[...good, { id: '/what/is/this' }], /resources\.json:\/9\/id/, /what\/is\/this/],
            [[...good, good[0]], /resources\.json/],
            [change(2, (r) => (r.location = 'mars')), /resources\.json:\/2\/location/, /mars/],
            [change(2, (r) => (r.properties.models[0].name = 'gpt-9')), /\/2\/properties\/models\/0\/name/, /gpt-9/, /add a resource with the id/],
            [change(3, (r) => (r.properties.url = 'ftp://x')), /\/3\/properties\/url/],
            [change(3, (r) => delete r.properties.url), /\/3\/properties/, /url.*http:\/\/127\.0\.0\.1:8000/],
            [change(3, (r) => (r.properties.weight = 0)), /\/3\/properties\/weight/, /1/],
            [change(3, (r) => (r.properties.caFile = 'x')), /caFile/, /https/],
            [change(5, (r) => (r.properties.keys.key1 = 'short')), /\/5\/properties\/keys\/key1/, /16/],
            [change(5, (r) => (r.properties.keys = { key1File: 'nowhere.key' })), /key1File/, /nowhere\.key/],
            [change(5, (r) => (r.properties.keys = { key1Env: 'WEIR_NO_SUCH' })), /key1Env/, /WEIR_NO_SUCH/],
            [[...good, dep({ capacity: 7 })], /\/9\/sku\/capacity/, /7 is no size/],
            [[...good, dep({ sku: 'Gold' })], /sku\/name/, /Gold|one of/],
            [[...good, dep({ spilloverDeploymentName: 'standard' })], /spilloverDeploymentName/, /leave it out/],
            [[...good, dep({ model: 'gpt-4o', weir: { depthWindowMs: 5 } })], /depthWindowMs/, /1000/],
        ]) {
            const { code, stdout, stderr } = await runWeir(['config', 'check', '--resources', write(t, resources)]);
            assert.equal(code, 1, stderr + stdout);
            for (const text of texts) assert.match(stderr, text);
            assert.match(stderr, /^weir: .*resources\.json/);
            assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
            assert.equal(stdout, '');
        }
    });

    test('check warns of what is not known, says what was meant, and goes on', async (t) => {
        const file = write(t, good.map((r, i) => (i === 3 ? { ...r, properties: { ...r.properties, wieght: 2 } } : r)));
        const { code, stderr } = await runWeir(['config', 'check', '--resources', file]);
        assert.equal(code, 0);
        assert.match(stderr, /^weir: warning: .*resources\.json:\/3\/properties\/wieght: .*did you mean "weight"\?\n$/);
    });

    test('print gives the same resources with their defaults, and no secret; what it prints is valid again', async (t) => {
        const { code, stdout } = await runWeir(['config', 'print', '--resources', write(t, good)]);
        assert.equal(code, 0);
        assert.ok(!stdout.includes(apiKey) && !stdout.includes('SECRET'), 'a secret is printed');
        const printed = JSON.parse(stdout);
        const all = Array.isArray(printed) ? printed : printed.value;
        for (const r of good.slice(1)) assert.ok(all.some((p) => p.id?.toLowerCase() === r.id.toLowerCase()), `${r.id} is missing`);
        // The masks are told from secrets; with the secrets in their places it is a configuration.
        const masked = await runWeir(['config', 'check', '--resources', write(t, stdout)]);
        assert.equal(masked.code, 1);
        assert.match(masked.stderr, /resources\.json:.*the mask that stands for a secret/);
        let i = 0;
        const filled = JSON.stringify(printed, (name, v) => (/^(apiKey|key[12])$/.test(name) && typeof v === 'string' ? `${apiKey}-${i++}` : v));
        const again = await runWeir(['config', 'check', '--resources', write(t, filled)]);
        assert.deepEqual([again.code, again.stderr], [0, '']);
        assert.equal(again.stdout, 'the configuration is valid: 1 accounts, 3 deployments, 2 backends\n');
    });

    test('example lists every setting with its default, and is a valid file', async (t) => {
        const { code, stdout } = await runWeir(['config', 'example']);
        assert.equal(code, 0);
        const help = (await runWeir(['serve', '--help'])).stdout;
        const options = [...help.matchAll(/^ +--([a-z-]+)/gm)].map((m) => m[1]).filter((n) => n !== 'config');
        const settings = [...stdout.matchAll(/^#([a-z-]+) =/gm)].map((m) => m[1]);
        assert.deepEqual(settings, options);
        const conf = path.join(tempFolder(), 'weir.conf');
        writeFileSync(conf, stdout.replace(/^#([a-z-]+ =)/gm, '$1').replace(/^resources =.*$/m, `resources = ${write(t, good)}`));
        const { code: valid, stderr } = await runWeir(['config', 'check', '--config', conf]);
        assert.equal(valid, 0, stderr);
    });

    test('and the other commands explain themselves', async () => {
        assert.match((await runWeir(['help'])).stdout, /demo.*\n.*serve.*\n.*config/);
        assert.match((await runWeir(['help', 'serve'])).stdout, /usage: weir serve --resources PATH/);
        assert.match((await runWeir(['version'])).stdout, /^weir \d+\.\d+/);
        const none = await runWeir([]);
        assert.equal(none.code, 2);
        const unknown = await runWeir(['srve']);
        assert.equal(unknown.code, 2);
        assert.match(unknown.stderr, /unknown command "srve"; weir help lists them/);
        const what = await runWeir(['config', 'chek']);
        assert.equal(what.code, 2);
        assert.match(what.stderr, /"chek" is not one of check, print, example/);
        assert.equal((await runWeir(['config', 'check'])).code, 2);
    });
});
