// backends.test.mjs - connections to model servers: when they are used again, what is sent twice, where they lead.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
    answerBytes, chatTarget, completionOf, delay, fakeBackend, rawConnection, requestBytes, resourceSet, spawnGateway, until, usageOf,
} from './support.mjs';

const body = (more = {}) => ({ messages: [{ role: 'user', content: 'Where does this river begin?' }], max_tokens: 5, ...more });
const answer = () => answerBytes(completionOf('x', usageOf(7, 3)));

// As other proxies pass it: whoever asked decides whether to follow.
test('a redirect of a backend passes with its Location, and is not followed', async (t) => {
    const location = 'https://elsewhere.test/v1/chat/completions?a=b';
    const backend = await fakeBackend(t, (r) => r.write(answerBytes('', { status: 307, headers: { Location: location } })));
    const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
    const client = rawConnection(gateway.url);
    client.write(requestBytes(chatTarget(), body()));
    const response = await client.response();
    client.destroy();
    assert.equal(response.status, 307);
    assert.equal(response.headers.location, location);
    const [line] = await gateway.settled(1);
    assert.equal(line.chargeMt, 0);
    assert.equal(backend.requests.length, 1);
});

describe('a kept connection', () => {
    for (const [what, act] of [['closes', (s) => s.end()], ['resets', (s) => s.resetAndDestroy()]]) {
        test(`whose backend reads the request and then ${what} it does not get the request a second time`, async (t) => {
            const backend = await fakeBackend(t, (r) => (backend.requests.length === 1 ? r.write(answer()) : act(r.socket)));
            const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
            const client = rawConnection(gateway.url);
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).status, 200);
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).status, 502);
            client.destroy();
            const lines = await gateway.settled(2);
            assert.equal(lines[1].reused, true);
            assert.equal(lines[1].chargeMt, 0);
            assert.equal(backend.requests.length, 2);
        });

        test(`that its backend ${what} before the request goes out is not used`, async (t) => {
            const backend = await fakeBackend(t, (r) => r.write(answer()));
            const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
            const client = rawConnection(gateway.url);
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).status, 200);
            await delay(5);
            // The gateway stands still while both come, the request first: so it sees that first too.
            gateway.signal('SIGSTOP');
            await delay(50);
            client.write(requestBytes(chatTarget(), body()));
            await delay(50);
            act(backend.connections[0].socket);
            await until(() => backend.connections[0].closedAt || backend.connections[0].socket.writableFinished);
            await delay(50);
            gateway.signal('SIGCONT');
            assert.equal((await client.response()).status, 200);
            client.destroy();
            const lines = await gateway.settled(2);
            assert.equal(lines[1].reused, false);
            assert.equal(backend.requests.length, 2);
            assert.equal(backend.connections.length, 2);
        });
    }

    test('that its backend closes at any moment never brings a request there twice', async (t) => {
        const seen = new Map();
        const backend = await fakeBackend(t, (r) => {
            const id = r.headers['x-round'];
            seen.set(id, (seen.get(id) ?? 0) + 1);
            r.write(answer());
        });
        const gateway = await spawnGateway(t, { resources: resourceSet([backend.url]) });
        const client = rawConnection(gateway.url);
        let served = 0;
        for (let i = 0; i < 300; i++) {
            client.write(requestBytes(chatTarget(), body(), { headers: { 'x-round': `${i}` } }));
            if (i % 3 === 2) {
                // Somewhere between before the request goes out and after it was read.
                const end = performance.now() + (i % 20) / 20;
                while (performance.now() < end);
                backend.connections.at(-1).socket.destroy();
            }
            const { status } = await client.response();
            assert.ok(status === 200 || status === 502 || status === 429, `${status}`);
            served += status === 200;
            if (status !== 200) await delay(i % 3 === 0 ? 1100 : 0); // the breaker may be open
        }
        client.destroy();
        assert.ok([...seen.values()].every((n) => n === 1), 'a request was read twice');
        assert.ok(served >= 200, `${served} of 300`);
    });
});

describe('the time for the first byte of an answer', () => {
    const never = {
        'interim answers without end': () => 'HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n',
        'a head that comes in crumbs': (r, i) => (i === 0 ? 'HTTP/1.1 200 OK\r\n' : `x-${i}: y\r\n`),
    };
    for (const [what, piece] of Object.entries(never)) {
        test(`is not lengthened by ${what}`, async (t) => {
            const timers = [];
            const backend = await fakeBackend(t, (r) => {
                let i = 0;
                timers.push(setInterval(() => r.write(piece(r, i++)), 20));
            });
            t.after(() => timers.forEach(clearInterval));
            const gateway = await spawnGateway(t, {
                resources: resourceSet([{ url: backend.url, firstByteTimeoutMs: 300, idleTimeoutMs: 60000 }]),
            });
            const client = rawConnection(gateway.url);
            client.write(requestBytes(chatTarget(), body()));
            assert.equal((await client.response()).status, 504);
            client.destroy();
            await until(() => backend.connections[0].closedAt);
        });
    }
});

test('a call that met a busy backend is told to come back, whatever the other one had', async (t) => {
    const busy = await fakeBackend(t, (r) => r.write(answerBytes({ error: {} }, { status: 429, headers: { 'retry-after-ms': 59000 } })));
    const broken = await fakeBackend(t, (r) => r.write(answerBytes({ error: {} }, { status: 500 })));
    const gateway = await spawnGateway(t, { resources: resourceSet([busy.url, { url: broken.url, priority: 2 }]) });
    let opened = 0; // or a little before: by the third call. Its breaker is open for a second at least
    for (let i = 0; i < 5; i++) {
        if (i === 2) opened = performance.now();
        const client = rawConnection(gateway.url);
        client.write(requestBytes(chatTarget(), body()));
        const { status, headers } = await client.response();
        client.destroy();
        assert.equal(status, 429);
        assert.ok(Number(headers['retry-after-ms']) >= 1);
    }
    assert.equal(busy.requests.length, 1);
    assert.ok(broken.requests.length === 3 || performance.now() - opened > 900, `${broken.requests.length} requests`);
});
