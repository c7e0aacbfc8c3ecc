// ends.test.mjs - every way a call can end early, over real sockets: one line, the right charge, the upstream closed.
import assert from 'node:assert/strict';
import net from 'node:net';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import {
    answerBytes, chatTarget, chunk, completionOf, delay, deltaOf, deployment, eventOf, fakeBackend, freePort, lastChunk, rawConnection,
    requestBytes, resourceSet, spawnGateway, streamHead, until, usageOf,
} from './support.mjs';

const body = (more = {}) => ({ messages: [{ role: 'user', content: 'Where does this river end?' }], max_tokens: 100, ...more });
const streaming = { stream: true };

// What the ends have in common: all is settled and logged once. Gives the call's line.
async function settledOnce(gateway, before, { lines = 1 } = {}) {
    await until(async () => (await gateway.debug()).inFlight === 0 && (await gateway.metric('weir_calls_in_flight')) === 0);
    const after = await gateway.debug();
    const end = await gateway.stop();
    assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    const written = gateway.lines();
    assert.equal(written.length, lines, JSON.stringify(written));
    const charged = written.reduce((sum, l) => sum + (l.chargeMt ?? 0), 0);
    assert.equal(after.chargedMt - before.chargedMt, charged);
    // The bucket was empty before, so what is left of the charge is all that may stand in it.
    assert.ok(after.levelMt <= charged, `${after.levelMt} outstanding of a charge of ${charged}`);
    return written[0];
}

const promptMt = (line) => line.promptEstimate * 1000;

// --- the client leaves ---

const ways = {
    'closes its socket': (c) => c.destroy(),
    'resets it': (c) => c.reset(),
    'closes its sending side': (c) => c.end(),
};

// Each: what the backend does, and when the client is to leave (a promise of that moment).
const phases = [
    {
        name: 'while its head is under way', lines: 0, isUpstream: false,
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body()).subarray(0, 60));
            await delay(20);
        },
    },
    {
        name: 'while its body is under way', isUpstream: false,
        async run({ client, gateway }) {
            const bytes = requestBytes(chatTarget(), body());
            client.write(bytes.subarray(0, bytes.length - 10));
            await until(async () => (await gateway.metric('weir_calls_in_flight')) === 1);
        },
        check(line) {
            assert.equal(line.status, 499);
            assert.equal(line.chargeMt, undefined);
        },
    },
    {
        name: 'while it waits', handle: () => {},
        async run({ client, backend }) {
            client.write(requestBytes(chatTarget(), body()));
            await until(() => backend.requests.length === 1);
        },
        // The backend had the request and nobody can say how far it came: the estimate stands.
        check(line) {
            assert.equal(line.status, 499);
            assert.equal(line.counts, 'estimated');
            assert.equal(line.chargeMt, line.estimateMt);
        },
    },
    {
        name: 'while it waits for a stream', handle: () => {},
        async run({ client, backend }) {
            client.write(requestBytes(chatTarget(), body(streaming)));
            await until(() => backend.requests.length === 1);
        },
        // A stream's tokens would have been seen; the prompt may have been worked on.
        check(line) {
            assert.equal(line.status, 499);
            assert.equal(line.chargeMt, promptMt(line));
        },
    },
    {
        name: 'at the first byte of a stream',
        handle: (r) => r.write(streamHead()),
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body(streaming)));
            await until(() => client.bytes().includes('\r\n\r\n'));
        },
        check(line) {
            assert.equal(line.status, 200);
            assert.equal(line.chargeMt, promptMt(line));
        },
    },
    {
        name: 'in the middle of a stream',
        handle: (r) => r.write(Buffer.concat([Buffer.from(streamHead()), ...['one', ' two', ' three'].map((w) => chunk(eventOf(deltaOf(w))))])),
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body(streaming)));
            await until(() => client.bytes().includes('three'));
        },
        check(line) {
            assert.equal(line.counts, 'counted');
            assert.equal(line.outputTokens, 3);
            assert.equal(line.chargeMt, promptMt(line) + 3 * 3000);
        },
    },
    {
        name: 'in the middle of a stream that says its usage as it goes',
        handle: (r) => r.write(Buffer.concat([
            Buffer.from(streamHead()), chunk(eventOf({ ...deltaOf('one two three'), usage: usageOf(40, 7) }))])),
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body(streaming)));
            await until(() => client.bytes().includes('three'));
        },
        check(line) {
            assert.equal(line.counts, 'reported');
            assert.equal(line.chargeMt, 40 * 1000 + 7 * 3000);
        },
    },
    {
        name: 'in the middle of an answer that is no stream',
        handle(r) {
            const bytes = answerBytes(completionOf('x'.repeat(500), usageOf(11, 50)));
            r.write(bytes.subarray(0, bytes.length - 100));
        },
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body()));
            await until(() => client.bytes().includes('xxx'));
        },
        // Executed, and its usage would have come at the end: the estimate stands.
        check(line) {
            assert.equal(line.status, 200);
            assert.equal(line.chargeMt, line.estimateMt);
        },
    },
    {
        name: 'after the last byte', isUpstream: false,
        handle: (r) => r.write(answerBytes(completionOf('done', usageOf(11, 5)))),
        async run({ client }) {
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).status, 200);
        },
        check(line) {
            assert.equal(line.outcome, 'ok');
            assert.equal(line.chargeMt, 11 * 1000 + 5 * 3000);
        },
    },
];

for (const [way, leave] of Object.entries(ways)) {
    describe(`a client that ${way}`, () => {
        for (const phase of phases) {
            test(`${phase.name} is settled once, and its backend hears of it within 100 ms`, async (t) => {
                // The measurement of time is repeated when the machine was busy; nothing else is.
                for (let attempt = 1; ; attempt++) {
                    const backend = await fakeBackend(t, phase.handle ?? (() => assert.fail('nothing was to be sent')));
                    const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
                    const before = await gateway.debug();
                    const client = rawConnection(gateway.url);
                    await phase.run({ client, backend, gateway });
                    const left = performance.now();
                    leave(client);
                    let took = 0;
                    if (phase.isUpstream !== false) {
                        await until(() => backend.connections[0].closedAt ?? backend.connections[0].endedAt);
                        took = (backend.connections[0].endedAt ?? backend.connections[0].closedAt) - left;
                    } else {
                        assert.ok(backend.requests.length === (phase.handle ? 1 : 0));
                    }
                    const line = await settledOnce(gateway, before, { lines: phase.lines ?? 1 });
                    client.destroy();
                    if (line) {
                        if (phase.name !== 'after the last byte') assert.equal(line.outcome, 'client_gone');
                        phase.check(line);
                    }
                    if (took < 100) return;
                    assert.ok(attempt < 10, `the backend heard of it after ${took} ms`);
                }
            });
        }
    });
}

// 100 kB of further requests: more than the 64 KiB that are read ahead, and less than what the systems of both sides hold.
const ahead = requestBytes(chatTarget(), body({ user: 'p'.repeat(100_000) })).subarray(0, -100);

for (const [way, leave] of Object.entries(ways)) {
    for (const [what, more] of [['waits', {}], ['streams', streaming]]) {
        test(`a client that has sent much ahead and ${way} while its first call ${what} is noticed within 100 ms`, async (t) => {
            for (let attempt = 1; ; attempt++) {
                const backend = await fakeBackend(t, (r) => {
                    if (more.stream) r.write(Buffer.concat([Buffer.from(streamHead()), chunk(eventOf(deltaOf('one')))]));
                });
                const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
                const before = await gateway.debug();
                const client = rawConnection(gateway.url);
                client.write(requestBytes(chatTarget(), body(more)));
                await until(() => backend.requests.length === 1 && (!more.stream || client.bytes().includes('one')));
                client.write(ahead);
                await until(() => client.socket.writableLength === 0);
                await delay(50); // what is under way arrives
                const left = performance.now();
                leave(client);
                await until(() => backend.connections[0].closedAt ?? backend.connections[0].endedAt);
                const took = (backend.connections[0].endedAt ?? backend.connections[0].closedAt) - left;
                const line = await settledOnce(gateway, before);
                client.destroy();
                assert.equal(line.outcome, 'client_gone');
                assert.equal(backend.requests.length, 1);
                if (took < 100) return;
                assert.ok(attempt < 10, `the backend heard of it after ${took} ms`);
            }
        });
    }
}

describe('a client that leaves', () => {
    test('while the backend is not reached yet pays nothing', async (t) => {
        // It accepts and never says hello, so that TLS does not come about.
        const silent = net.createServer(() => {});
        silent.listen(0, '127.0.0.1');
        t.after(() => silent.close());
        const accepted = [];
        silent.on('connection', (s) => {
            accepted.push(s);
            s.on('error', () => {});
            s.resume();
        });
        await until(() => silent.listening);
        const gateway = await spawnGateway(t, { resources: resourceSet([{ url: `https://127.0.0.1:${silent.address().port}`, insecureSkipVerify: true }]) });
        const before = await gateway.debug();
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body()));
        await until(() => accepted.length === 1);
        const closed = new Promise((resolve) => accepted[0].on('close', resolve));
        client.destroy();
        await closed;
        const line = await settledOnce(gateway, before);
        assert.equal(line.status, 499);
        assert.equal(line.chargeMt, 0);
    });

    test('lets a backend that bills the whole answer finish, and pays it', async (t) => {
        let go;
        const backend = await fakeBackend(t, (r) => {
            r.write(Buffer.concat([Buffer.from(streamHead()), chunk(eventOf(deltaOf('one')))]));
            go = () => r.write(Buffer.concat([
                chunk(eventOf(deltaOf(' two'))), chunk(eventOf({ choices: [], usage: usageOf(20, 30) })), chunk(eventOf('[DONE]')), Buffer.from(lastChunk)]));
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([{ url: backend.url, onClientGone: 'drain' }]) });
        const before = await gateway.debug();
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body(streaming)));
        await until(() => client.bytes().includes('one'));
        client.destroy();
        await until(async () => (await gateway.metric('weir_client_connections')) === 0);
        assert.equal((await gateway.debug()).inFlight, 1);
        assert.equal(backend.connections[0].closedAt, null);
        go();
        const line = await settledOnce(gateway, before);
        assert.equal(line.outcome, 'client_gone');
        assert.equal(line.chargeMt, 20 * 1000 + 30 * 3000);
    });

    test('while it waits behind such a backend, and then its backend dies, is still settled once', async (t) => {
        let kill;
        const backend = await fakeBackend(t, (r) => (kill = () => r.socket.resetAndDestroy()));
        const gateway = await spawnGateway(t, { resources: resourceSet([{ url: backend.url, onClientGone: 'drain' }]) });
        const before = await gateway.debug();
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body()));
        await until(() => kill);
        client.destroy();
        await until(async () => (await gateway.metric('weir_client_connections')) === 0);
        kill();
        const line = await settledOnce(gateway, before);
        assert.equal(line.outcome, 'client_gone');
        assert.equal(line.chargeMt, 0);
    });

    test('with a slow read does not make us buffer without end, and its leaving is noticed', async (t) => {
        let sent = 0, socket;
        const piece = chunk(eventOf(deltaOf('y'.repeat(30000))));
        const backend = await fakeBackend(t, (r) => {
            socket = r.socket;
            r.write(streamHead());
            const pump = () => {
                while (sent < 400e6 && !socket.destroyed) {
                    sent += piece.length;
                    if (!socket.write(piece)) return socket.once('drain', pump);
                }
            };
            pump();
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const before = await gateway.debug();
        const client = rawConnection(gateway.url);
        client.socket.pause();
        client.write(requestBytes(chatTarget(), body(streaming)));
        // Until the backend's bytes stop flowing: then every buffer on the way is full. Before the first it has no call yet.
        for (let last = -1; last !== sent || sent === 0; await delay(300)) last = sent;
        assert.ok(sent < 60e6, `${sent} bytes were taken from the backend for a client that reads none`);
        const left = performance.now();
        client.reset();
        await until(() => backend.connections[0].closedAt);
        assert.ok(backend.connections[0].closedAt - left < 10000); // no time of any setting
        const line = await settledOnce(gateway, before);
        assert.equal(line.outcome, 'client_gone');
    });
});

// --- the backend ends ---

// Makes one call and gives its answer and its line.
async function callOnce(t, backends, { more = {}, headers = {}, env = {} } = {}) {
    const gateway = await spawnGateway(t, { resources: resourceSet(backends), env });
    const before = await gateway.debug();
    const client = rawConnection(gateway.url);
    client.write(requestBytes(chatTarget(), body(more), { headers }));
    const answer = await client.response().catch(() => null);
    const bytes = client.bytes().toString();
    client.destroy();
    const line = await settledOnce(gateway, before);
    return { answer, bytes, line, gateway };
}

// For a backend that does not come to the point; what one does do comes in less than that, also on a busy machine.
const brief = { connectTimeoutMs: 1000, firstByteTimeoutMs: 1000, idleTimeoutMs: 1000 };
const briefly = { idleTimeoutMs: 1000 };

// The error event that ends a stream; it has no [DONE].
function errorEventOf(text) {
    assert.ok(!text.includes('[DONE]'), text);
    const last = text.trimEnd().split('\n\n').at(-1);
    return JSON.parse(last.slice(last.indexOf('{'))).error;
}

function assertRefund({ answer, line }, status, code) {
    assert.equal(answer.status, status);
    assert.equal(answer.json().error.code, code);
    assert.ok(answer.json().error.message);
    assert.equal(line.status, status);
    assert.equal(line.chargeMt, 0);
    assert.equal(line.correctionMt, -line.estimateMt);
}

describe('a backend that has not begun its answer', () => {
    test('and refuses connections costs nothing', async (t) => {
        const port = await freePort();
        assertRefund(await callOnce(t, [`http://127.0.0.1:${port}`]), 502, 'UpstreamFailed');
    });

    test('and has no such name costs nothing', async (t) => {
        // Whoever is asked for the name may be slow to say so, or the question be lost: asked twice, and waited for longer.
        const nowhere = { url: 'http://no-such-host.invalid:80', connectTimeoutMs: 20000 };
        assertRefund(await callOnce(t, [nowhere], { env: { RES_OPTIONS: 'timeout:1 attempts:2' } }), 502, 'UpstreamFailed');
    });

    for (const [what, act] of [['resets', (s) => s.resetAndDestroy()], ['closes', (s) => s.end()]]) {
        test(`and ${what} the connection costs nothing, and the call moves to another backend`, async (t) => {
            const bad = await fakeBackend(t, (r) => act(r.socket));
            assertRefund(await callOnce(t, [bad.url]), 502, 'UpstreamFailed');
            const good = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('fine', usageOf(11, 2)))));
            const { answer, line } = await callOnce(t, [{ url: bad.url }, { url: good.url, priority: 2 }]);
            assert.equal(answer.status, 200);
            assert.equal(answer.json().choices[0].message.content, 'fine');
            assert.equal(line.retries, 1);
            assert.match(line.backend, /b2$/);
            assert.equal(line.chargeMt, 11 * 1000 + 2 * 3000);
            assert.equal(good.requests[0].body, bad.requests.at(-1).body);
        });
    }

    test('and is silent costs nothing', async (t) => {
        const backend = await fakeBackend(t, () => {});
        assertRefund(await callOnce(t, [{ url: backend.url, ...brief }]), 504, 'UpstreamTimeout');
        await until(() => backend.connections[0].closedAt);
    });

    test('and sends half a head and falls silent costs nothing', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write('HTTP/1.1 200 OK\r\ncontent-ty'));
        assertRefund(await callOnce(t, [{ url: backend.url, ...brief }]), 504, 'UpstreamTimeout');
    });

    test('and whose TLS never comes about costs nothing', async (t) => {
        const silent = net.createServer((s) => s.on('error', () => {}));
        silent.listen(0, '127.0.0.1');
        t.after(() => silent.close());
        await until(() => silent.listening);
        assertRefund(await callOnce(t, [{ url: `https://127.0.0.1:${silent.address().port}`, ...brief }]), 504, 'UpstreamTimeout');
    });

    test('and is full says when to come back', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes({ error: {} }, { status: 429, headers: { 'retry-after-ms': 29999 } })));
        const result = await callOnce(t, [backend.url]);
        assertRefund(result, 429, '429');
        const wait = Number(result.answer.headers['retry-after-ms']);
        assert.ok(wait > 15000 && wait <= 29999, `${wait}`);
        assert.equal(result.answer.headers['retry-after'], `${Math.ceil(wait / 1000)}`);
    });

    test('and has an error of its own lets another one answer, or 502 comes', async (t) => {
        for (const status of [500, 503]) {
            const bad = await fakeBackend(t, (r) => r.write(answerBytes({ error: { message: 'boom' } }, { status })));
            const result = await callOnce(t, [bad.url]);
            assertRefund(result, 502, 'UpstreamFailed');
            assert.match(result.answer.json().error.message, new RegExp(`${status} from the model server`));
            const good = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('fine', usageOf(1, 1)))));
            const { answer, line } = await callOnce(t, [bad.url, { url: good.url, priority: 2 }]);
            assert.equal(answer.status, 200);
            assert.equal(line.retries, 1);
        }
    });

    test('and finds the request wrong is passed on as it is, and costs nothing', async (t) => {
        const error = { error: { message: 'this prompt is too long', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' } };
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(error, { status: 400 })));
        const { answer, line } = await callOnce(t, [backend.url]);
        assert.equal(answer.status, 400);
        assert.deepEqual(answer.json(), error);
        assert.equal(line.chargeMt, 0);
        assert.equal(backend.requests.length, 1);
    });
});

describe('a backend that has begun its answer', () => {
    const begun = [Buffer.from(streamHead()), ...['one', ' two'].map((w) => chunk(eventOf(deltaOf(w))))];

    for (const [what, act] of [['resets', (s) => setTimeout(() => s.resetAndDestroy(), 30)], ['closes', (s) => s.end()]]) {
        test(`and ${what} the connection ends the stream with an error event; what came is paid`, async (t) => {
            const bad = await fakeBackend(t, (r) => {
                r.write(Buffer.concat(begun));
                act(r.socket);
            });
            const good = await fakeBackend(t, () => assert.fail('after the first byte nothing moves'));
            const { answer, line } = await callOnce(t, [bad.url, { url: good.url, priority: 2 }], { more: streaming });
            assert.equal(answer.status, 200);
            assert.ok(answer.body.startsWith(begun.slice(1).map((b) => b.toString().split('\r\n')[1]).join('')));
            assert.equal(errorEventOf(answer.body).code, 'UpstreamFailed');
            assert.equal(line.outcome, 'upstream_failed');
            assert.equal(line.status, 200);
            assert.equal(line.chargeMt, promptMt(line) + 2 * 3000);
        });
    }

    test('and falls silent ends the stream with an error event', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(Buffer.concat(begun)));
        const { answer, line } = await callOnce(t, [{ url: backend.url, ...briefly }], { more: streaming });
        assert.equal(errorEventOf(answer.body).code, 'UpstreamTimeout');
        assert.equal(line.chargeMt, promptMt(line) + 2 * 3000);
        await until(() => backend.connections[0].closedAt);
    });

    test('and breaks off an answer that is no stream is broken off here too', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write(answerBytes(completionOf('z'.repeat(500), usageOf(1, 1))).subarray(0, 300));
            r.socket.end();
        });
        const { answer, bytes, line } = await callOnce(t, [backend.url]);
        assert.equal(answer, null);
        assert.ok(bytes.startsWith('HTTP/1.1 200'));
        assert.equal(line.outcome, 'upstream_failed');
    });

    test('and breaks off a stream after its usage is paid by that', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write(Buffer.concat([...begun, chunk(eventOf({ choices: [], usage: usageOf(50, 60) }))]));
            r.socket.end();
        });
        const { line } = await callOnce(t, [backend.url], { more: streaming });
        assert.equal(line.counts, 'reported');
        assert.equal(line.chargeMt, 50 * 1000 + 60 * 3000);
    });

    test('and tells of an error in the stream is passed on as it is', async (t) => {
        const error = { error: { message: 'out of memory', type: 'server_error', code: 500 } };
        const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([...begun, chunk(eventOf(error)), Buffer.from(lastChunk)])));
        const { answer, line } = await callOnce(t, [backend.url], { more: streaming });
        assert.deepEqual(errorEventOf(answer.body), error.error);
        assert.equal(line.chargeMt, promptMt(line) + 2 * 3000);
    });
});

// --- lies and garbage ---

describe('a backend that sends garbage', () => {
    const pad = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`x-pad-${i}`, 'p'.repeat(4000)]));
    const noHttp = {
        'no HTTP at all': 'SSH-2.0-OpenSSH_9.2\r\n',
        'binary bytes': Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]),
        'a status of no number': 'HTTP/1.1 abc OK\r\n\r\n',
        'HTTP/2': 'HTTP/2 200\r\n\r\n',
        'two lengths': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x',
        'a length and chunks': 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
        'a negative length': 'HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}',
        'a length beyond any number': `HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(30)}\r\n\r\n{}`,
        'bare line feeds': 'HTTP/1.1 200 OK\ncontent-length: 2\n\n{}',
        'a folded field': 'HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}',
        'an encoding that nobody asked for': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n',
        'another protocol': 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
        'a head of 80 kB': answerBytes({}, { headers: pad }),
        'a zero byte in a field': 'HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 2\r\n\r\n{}',
    };
    for (const [what, bytes] of Object.entries(noHttp)) {
        test(`(${what}) is refused for it, and nothing is charged`, async (t) => {
            const backend = await fakeBackend(t, (r) => {
                r.write(bytes);
                setTimeout(() => r.socket.end(), 50);
            });
            const result = await callOnce(t, [backend.url]);
            assertRefund(result, 502, result.answer.json().error.code);
            assert.match(result.answer.json().error.code, /^Upstream(InvalidResponse|Failed)$/);
            await until(() => backend.connections.every((c) => c.closedAt));
        });
    }

    test('(heads of nearly 64 KiB) is passed on, or refused', async (t) => {
        const last = new Map();
        const backend = await fakeBackend(t, (r) => {
            const n = Number(r.headers['x-size']);
            const headers = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`x-pad-${i}`, 'p'.repeat(n / 8)]));
            r.write(answerBytes(completionOf('x', usageOf(1, 1)), { headers }));
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        for (const n of [32768, 60000, 64800, 65000, 65200, 65280, 65360, 65440, 65520, 66000]) {
            const client = rawConnection(gateway.url);
            client.write(requestBytes(chatTarget(), body(), { headers: { 'x-size': n } }));
            last.set(n, (await client.response()).status);
            client.destroy();
            if (last.get(n) !== 200) await delay(1100); // the breaker
        }
        assert.equal(last.get(60000), 200);
        assert.equal(last.get(66000), 502);
        assert.ok(!gateway.hasEnded(), gateway.stderr());
    });

    const broken = {
        'chunk sizes that are none': 'zz\r\n',
        'a chunk longer than it says': '2\r\nabcdef\r\n0\r\n\r\n',
        'a chunk size beyond any number': 'fffffffffffffffff\r\nabc',
    };
    for (const [what, bytes] of Object.entries(broken)) {
        test(`(${what}) within a stream ends it with an error event`, async (t) => {
            const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([
                Buffer.from(streamHead()), chunk(eventOf(deltaOf('one'))), Buffer.from(bytes)])));
            const { answer, line } = await callOnce(t, [backend.url], { more: streaming });
            assert.equal(answer.status, 200);
            assert.equal(errorEventOf(answer.body).code, 'UpstreamInvalidResponse');
            assert.equal(line.outcome, 'upstream_garbage');
            assert.equal(line.chargeMt, promptMt(line) + 3000);
        });
    }

    for (const [kind, type] of [['a stream', 'text/event-stream'], ['any other answer', 'application/json']]) {
        for (const what of ['chunk sizes that are none', 'a chunk size beyond any number']) {
            test(`(${what}) right behind the head of ${kind} is refused for it, and nothing is charged`, async (t) => {
                const backend = await fakeBackend(t, (r) =>
                    r.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ntransfer-encoding: chunked\r\n\r\n${broken[what]}`));
                assertRefund(await callOnce(t, [backend.url]), 502, 'UpstreamInvalidResponse');
            });
        }
    }

    test('(a broken answer) is not taken for a whole one by a client of HTTP/1.0, whose answers end with their connection', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n');
            setTimeout(() => r.socket.destroy(), 50);
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        let error = null;
        client.socket.on('error', (e) => (error = e));
        client.write(requestBytes(chatTarget(), body()).toString().replace('HTTP/1.1', 'HTTP/1.0'));
        await client.closed;
        assert.ok(client.bytes().includes('{"a":'));
        assert.equal(error?.code, 'ECONNRESET');
        assert.equal((await gateway.settled(1))[0].outcome, 'upstream_failed');
    });

    test('(events of no JSON, in any encoding) is passed on byte by byte', async (t) => {
        const garbage = Buffer.concat([
            Buffer.from('data: {"choices":[{"delta":{"content":"\n\n'), Buffer.from('data: '), Buffer.from([0xff, 0xfe, 0xc0, 0x80]), Buffer.from('\n\n'),
            Buffer.from(': a comment\n\n'), Buffer.from('event: odd\nid: 7\nretry: 5\n\n'), Buffer.from('data: [[[[\ndata: ]]]]\n\n'),
            Buffer.from('no field at all\n\n'), Buffer.from('data: 1e999\n\n'), Buffer.from('data: {"usage":[]}\n\n'),
        ]);
        const backend = await fakeBackend(t, (r) => {
            const head = Buffer.from(streamHead());
            r.write(Buffer.concat([head, Buffer.from(`${garbage.length.toString(16)}\r\n`), garbage, Buffer.from('\r\n'), Buffer.from(lastChunk)]));
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body(streaming), { headers: { connection: 'close' } }));
        await until(() => client.hasEnded());
        client.destroy();
        assert.ok(client.bytes().includes(garbage));
        const [line] = await gateway.settled(1);
        assert.equal(line.outcome, 'ok');
        assert.equal(line.chargeMt, promptMt(line));
    });

    test('(an event of a megabyte) is passed on, and costs us no more than its share', async (t) => {
        const long = eventOf(deltaOf('m'.repeat(1 << 20)));
        const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([
            Buffer.from(streamHead()), chunk(long), chunk(eventOf({ choices: [], usage: usageOf(9, 9) })), Buffer.from(lastChunk)])));
        const { answer, line } = await callOnce(t, [backend.url], { more: { stream: true, stream_options: { include_usage: true } } });
        assert.ok(answer.body.startsWith(long));
        assert.equal(line.chargeMt, 9 * 1000 + 9 * 3000);
    });
});

describe('a backend that lies', () => {
    test('about the length of its answer (too long) is cut off', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"usage":{"prompt_tokens":1,"completion_tokens":1}}');
            r.socket.end();
        });
        const { answer, line } = await callOnce(t, [backend.url]);
        assert.equal(answer, null);
        assert.equal(line.outcome, 'upstream_failed');
    });

    test('about the length of its answer (too short) does not reach the next call', async (t) => {
        let n = 0;
        const backend = await fakeBackend(t, (r) => {
            const answer = answerBytes(completionOf(`answer ${++n}`, usageOf(1, 1)));
            r.write(n === 1 ? Buffer.concat([answer, answerBytes(completionOf('of somebody else', usageOf(1, 1)))]) : answer);
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        for (const expected of ['answer 1', 'answer 2']) {
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).json().choices[0].message.content, expected);
        }
        client.destroy();
        assert.equal(backend.connections.length, 2);
    });

    test('by answering before it was asked is not believed', async (t) => {
        let n = 0;
        const backend = await fakeBackend(t, (r) => {
            r.write(answerBytes(completionOf(`answer ${++n}`, usageOf(1, 1))));
            if (n === 1) setTimeout(() => r.write(answerBytes(completionOf('unasked', usageOf(1, 1)))), 30);
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body()));
        await client.response();
        await until(() => backend.connections[0].closedAt);
        client.write(requestBytes(chatTarget(), body()));
        assert.equal((await client.response()).json().choices[0].message.content, 'answer 2');
        client.destroy();
    });

    const usages = {
        'negative numbers': [{ prompt_tokens: -5, completion_tokens: -1 }, 'estimated'],
        'texts for numbers': [{ prompt_tokens: '5', completion_tokens: '1' }, 'estimated'],
        'fractions': [{ prompt_tokens: 1.5, completion_tokens: 2.5 }, 'estimated'],
        'nothing': [null, 'estimated'],
        'more cached tokens than there were': [usageOf(10, 2, { prompt_tokens_details: { cached_tokens: 99 } }), 'reported', 2 * 3000],
        'negative cached tokens': [usageOf(10, 2, { prompt_tokens_details: { cached_tokens: -9 } }), 'reported', 10000 + 6000],
        'no work at all': [usageOf(0, 0), 'reported', 1000],
    };
    for (const [what, [usage, counts, charge]] of Object.entries(usages)) {
        test(`about usage (${what}) is charged by what can be believed`, async (t) => {
            const backend = await fakeBackend(t, (r) => r.write(answerBytes({ ...completionOf('x'), usage })));
            const { answer, line } = await callOnce(t, [backend.url]);
            assert.equal(answer.status, 200);
            assert.equal(line.counts, counts);
            assert.equal(line.chargeMt, charge ?? line.estimateMt);
        });
    }

    test('about when it counted, by text after its last usage, is charged by the text', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([
            Buffer.from(streamHead()), chunk(eventOf(deltaOf('a'))), chunk(eventOf({ choices: [], usage: usageOf(7, 1) })),
            ...Array.from({ length: 9 }, () => chunk(eventOf(deltaOf('b')))), chunk('data: [DONE]\n\n'), Buffer.from(lastChunk)])));
        const { line } = await callOnce(t, [backend.url], { more: streaming });
        assert.equal(line.chargeMt, 7 * 1000 + 10 * 3000);
    });

    const unreadable = {
        'compressed, though nobody asked for that': ['content-encoding: gzip\r\n', gzipSync(eventOf(deltaOf('a')))],
        'with no event in it': ['', Buffer.from('hello')],
        'with one event of more than any buffer': ['', Buffer.from(`data: ${'z'.repeat(200000)}`)],
    };
    for (const [what, [field, bytes]] of Object.entries(unreadable)) {
        test(`by a stream that nobody can count (${what}) is charged as was estimated`, async (t) => {
            const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([
                Buffer.from(streamHead(field)), chunk(bytes), Buffer.from(lastChunk)])));
            const { answer, line } = await callOnce(t, [backend.url], { more: streaming });
            assert.equal(answer.status, 200);
            assert.equal(line.counts, 'estimated');
            assert.equal(line.chargeMt, line.estimateMt);
        });
    }

    test('about its protocol, by switching to another, is refused at once', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'));
        const { answer, line } = await callOnce(t, [backend.url]);
        assert.equal(answer.status, 502);
        assert.equal(answer.json().error.code, 'UpstreamInvalidResponse');
        assert.equal(line.chargeMt, 0);
    });

    test('about usage with numbers beyond all bounds, many times at once, harms no counter', async (t) => {
        const waiting = [];
        const backend = await fakeBackend(t, (r) => waiting.push(r));
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const n = 12;
        const clients = Array.from({ length: n }, () => {
            const c = rawConnection(gateway.url);
            c.write(requestBytes(chatTarget(), body()));
            return c;
        });
        await until(() => waiting.length === n);
        // Half of them claim what is beyond any count, which is none; half the most that is taken for one, of which only
        // the largest context there is and the caller's own limit, 100, are believed.
        const most = 2 ** 40;
        const usages = [
            '{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807,"total_tokens":18446744073709551615}',
            `{"prompt_tokens":${most},"completion_tokens":${most},"total_tokens":${2 * most}}`,
        ];
        waiting.forEach((r, i) => r.write(answerBytes(`{"choices":[],"usage":${usages[i % 2]}}`)));
        for (const c of clients) {
            assert.equal((await c.response()).status, 200);
            c.destroy();
        }
        const lines = await gateway.settled(n);
        for (const charge of [lines[0].estimateMt, 2 ** 20 * 1000 + 100 * 3000])
            assert.equal(lines.filter((l) => l.chargeMt === charge && l.levelEndMt >= 0).length, n / 2, JSON.stringify(lines));
        assert.equal(lines.filter((l) => l.usageCapped).length, n / 2);
        assert.equal(await gateway.metric('weir_backend_usage_capped_total'), n / 2);
        const debug = await gateway.debug();
        assert.ok(debug.levelMt > debug.depthMt);
        assert.ok(debug.chargedMt >= 0 && debug.outputTokens >= 0, JSON.stringify(debug));
    });

    test('about what kind of answer it sends is passed on as what it is', async (t) => {
        const json = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('whole', usageOf(7, 3)))));
        const asked = await callOnce(t, [json.url], { more: streaming });
        assert.equal(asked.answer.json().choices[0].message.content, 'whole');
        assert.equal(asked.line.chargeMt, 7000 + 9000);
        const events = await fakeBackend(t, (r) => r.write(Buffer.concat([
            Buffer.from(streamHead()), chunk(eventOf(deltaOf('unasked'))), chunk(eventOf({ choices: [], usage: usageOf(7, 3) })), Buffer.from(lastChunk)])));
        const got = await callOnce(t, [events.url]);
        assert.ok(got.answer.body.includes('unasked'));
        assert.equal(got.line.chargeMt, 7000 + 9000);
    });

    test('by ending its body with its connection, as HTTP/1.0 does, is read to its end', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write('HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n');
            r.write(JSON.stringify(completionOf('old', usageOf(7, 3))));
            r.socket.end();
        });
        const { answer, line } = await callOnce(t, [backend.url]);
        assert.equal(answer.json().choices[0].message.content, 'old');
        assert.equal(line.chargeMt, 7000 + 9000);
    });

    test('with many interim answers is waited for', async (t) => {
        const backend = await fakeBackend(t, (r) => {
            r.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n'.repeat(20));
            r.write(answerBytes(completionOf('real', usageOf(7, 3))));
        });
        const { answer } = await callOnce(t, [backend.url]);
        assert.equal(answer.json().choices[0].message.content, 'real');
    });

    test('with fields that are ours to write does not get them through', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('x', usageOf(1, 1)), {
            headers: {
                'azure-openai-deployment-utilization': '0.0%', 'x-ratelimit-remaining-tokens': '5', 'set-cookie': 'a=b', server: 'evil',
                'x-ms-deployment-name': 'other', 'apim-request-id': 'theirs', 'x-request-id': 'theirs', 'retry-after-ms': '5', 'x-own': 'kept',
            },
        })));
        const { answer } = await callOnce(t, [backend.url]);
        assert.equal(answer.headers['x-ms-deployment-name'], 'ptu');
        assert.notEqual(answer.headers['azure-openai-deployment-utilization'], '0.0%');
        assert.notEqual(answer.headers['apim-request-id'], 'theirs');
        assert.equal(answer.headers['x-request-id'], answer.headers['apim-request-id']);
        for (const name of ['x-ratelimit-remaining-tokens', 'set-cookie', 'server', 'retry-after-ms']) assert.equal(answer.headers[name], undefined, name);
        assert.equal(answer.headers['x-own'], 'kept');
    });
});

describe('what the backend is sent', () => {
    test("is the caller's body with the model spliced in, and none of the caller's credentials", async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('x', usageOf(1, 1)))));
        const gateway = await spawnGateway(t, {
            resources: resourceSet([{ url: `${backend.url}/base`, apiKey: 'key-of-the-backend', modelName: 'org/model' }], [deployment('ptu')]),
        });
        const client = rawConnection(gateway.url);
        const text = '{ "messages" : [{"role":"user","content":"\\u00e9 é 🦫"}],  "model":"anything", "temperature" : 0.10, "n":1 }';
        client.write(requestBytes('/v1/chat/completions', text.replace('anything', 'ptu'), {
            headers: { 'x-custom': 'yes', cookie: 'a=b', 'accept-encoding': 'gzip', 'keep-alive': 'x', te: 'trailers' },
        }));
        await client.response();
        client.destroy();
        const [sent] = backend.requests;
        assert.equal(sent.target, '/base/v1/chat/completions');
        assert.equal(sent.body, text.replace('anything', 'org/model'));
        assert.equal(sent.headers.authorization, 'Bearer key-of-the-backend');
        assert.equal(sent.headers['x-custom'], 'yes');
        assert.equal(sent.headers.host, `127.0.0.1:${backend.port}`);
        for (const name of ['api-key', 'cookie', 'accept-encoding', 'keep-alive', 'te']) assert.equal(sent.headers[name], undefined, name);
        assert.equal(sent.lines.filter((l) => /^(host|content-length|content-type|authorization):/i.test(l)).length, 4);
    });

    test('asks for usage in every stream, and keeps the other options', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([Buffer.from(streamHead()), chunk(eventOf('[DONE]')), Buffer.from(lastChunk)])));
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        for (const [options, expected] of [
            [undefined, { include_usage: true }],
            [null, { include_usage: true }],
            [{}, { include_usage: true }],
            [{ include_usage: false, include_obfuscation: false }, { include_obfuscation: false, include_usage: true }],
            [{ include_usage: true, x: 1 }, { include_usage: true, x: 1 }],
        ]) {
            client.write(requestBytes(chatTarget(), body({ stream: true, stream_options: options })));
            await client.response();
            assert.deepEqual(backend.requests.at(-1).json().stream_options, expected);
        }
        client.destroy();
    });

    test("takes Azure's form for a backend of that dialect", async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('x', usageOf(1, 1)))));
        const { gateway } = await callOnce(t, [{
            url: backend.url, dialect: 'azure', deploymentName: 'their-name', apiVersion: '2024-06-01', apiKey: 'key-of-the-backend',
        }]);
        const [sent] = backend.requests;
        assert.equal(sent.target, '/openai/deployments/their-name/chat/completions?api-version=2024-06-01');
        assert.equal(sent.headers['api-key'], 'key-of-the-backend');
        assert.equal(sent.headers.authorization, undefined);
        assert.ok(gateway.hasEnded());
    });
});
