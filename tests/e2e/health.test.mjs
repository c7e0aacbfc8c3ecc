// health.test.mjs - backends by the operator's API, on a data plane that runs: added, seen, drained and removed.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { account, ask, callWith, deploymentBody, spawnWithAccount, tokenOf, v } from './control_support.mjs';
import { freePort, runWeir, spawnSimulator, until as waitFor } from './support.mjs';

// A busy machine takes its time.
const until = (fn, ms = 30000) => waitFor(fn, ms);

const pool = '/providers/Weir.Capacity/pools/tests', backend = (name) => `${pool}/backends/${name}`;

async function spawnWithDeployment(t) {
    const c = await spawnWithAccount(t, { loops: 2 });
    assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
    c.health = async (name) => (await c.get(backend(name))).json().properties.health;
    c.call = () => callWith(c, { 'api-key': c.key });
    c.post = (target) => ask(c, 'POST', target + v);
    return c;
}

// A model server that begins each answer and ends it when it is told to.
async function slowBackend(t) {
    const held = [];
    const server = http.createServer((q, a) => {
        q.resume().on('end', () => {
            a.writeHead(200, { 'content-type': 'text/event-stream' });
            a.write('data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n');
            held.push(() => a.end('data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'));
        });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => (server.closeAllConnections(), server.close()));
    return { url: `http://127.0.0.1:${server.address().port}`, release: () => held.forEach((end) => end()), n: () => held.length };
}

const openStream = (c) => fetch(`${c.gateway.url}/openai/deployments/d/chat/completions?api-version=2024-10-21`, {
    method: 'POST', headers: { 'content-type': 'application/json', 'api-key': c.key },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 20, stream: true }),
});

test('a backend is added, found dead, and found well again when it is there', { timeout: 60000 }, async (t) => {
    const c = await spawnWithDeployment(t);
    assert.deepEqual(await c.health('b1'), { state: 'Healthy', inFlight: 0 });
    const port = await freePort();
    const made = await c.put(backend('b2'), { properties: { url: `http://127.0.0.1:${port}` } });
    assert.equal(made.status, 201, made.body);
    // Calls try it, fail there before their first byte, and are served by the other one.
    await until(async () => {
        assert.equal((await c.call()).status, 200);
        return (await c.health('b2')).state !== 'Healthy';
    }, 20000);
    const sick = await c.health('b2');
    assert.ok(['Ejected', 'Probing'].includes(sick.state), sick.state);
    assert.match(sick.lastError.message, /answer/);
    assert.equal(sick.lastError.status, undefined, 'nobody answered');
    assert.ok(Math.abs(Date.parse(sick.lastError.at) - Date.now()) < 60000);
    const seen = await until(async () => {
        const h = await c.health('b2');
        if (h.state !== 'Ejected') await c.call();
        return h.state === 'Ejected' && h;
    });
    assert.ok(Date.parse(seen.until) > Date.now() - 1000);
    const { health } = (await c.get(pool)).json().properties;
    assert.equal(health.healthy + health.ejected + health.probing, 2);
    assert.equal(health.healthy, 1);
    const listed = (await c.get(`${pool}/backends`)).json().value.map((b) => b.properties.health.state);
    assert.equal(listed[0], 'Healthy');
    assert.ok(['Ejected', 'Probing'].includes(listed[1]));

    const sim = await spawnSimulator(t, '--profile', 'instant', '--listen', `127.0.0.1:${port}`);
    await until(async () => {
        assert.equal((await c.call()).status, 200);
        return (await c.health('b2')).state === 'Healthy' && (await sim.stats());
    }, 45000);
    assert.equal((await c.health('b2')).lastError.message, sick.lastError.message, 'the last one stays to be read');
    // What the server says of a backend is no part of what it is told: the answer may be sent back as it is.
    const read = (await c.get(backend('b2'))).json();
    assert.equal((await c.put(backend('b2'), read)).status, 200);
    assert.equal((await c.get(backend('b2'))).json().etag, read.etag);
});

test('a backend is drained, finishes what it has, gets nothing new, and is removed', { timeout: 60000 }, async (t) => {
    const c = await spawnWithDeployment(t);
    const slow = await slowBackend(t);
    assert.equal((await c.put(backend('b1'), { properties: { url: slow.url } })).status, 200);
    const stream = await openStream(c);
    assert.equal(stream.status, 200);
    assert.deepEqual(await c.health('b1'), { state: 'Healthy', inFlight: 1 });
    const other = await spawnSimulator(t, '--profile', 'instant');
    assert.equal((await c.put(backend('b2'), { properties: { url: other.url } })).status, 201);
    const drained = await c.post(`${backend('b1')}/drain`);
    assert.equal(drained.status, 200, drained.body);
    assert.equal(drained.json().properties.isDraining, true);
    assert.deepEqual(await c.health('b1'), { state: 'Draining', inFlight: 1 });
    assert.equal((await c.get(pool)).json().properties.health.draining, 1);
    for (let i = 0; i < 8; i++) assert.equal((await c.call()).status, 200);
    assert.deepEqual([(await c.health('b1')).inFlight, slow.n()], [1, 1], 'all went to the other one');
    slow.release();
    assert.match(await stream.text(), /data: \[DONE\]/);
    await until(async () => (await c.health('b1')).state === 'Drained');
    assert.deepEqual(await c.health('b1'), { state: 'Drained', inFlight: 0 });

    assert.equal((await c.post(`${backend('b1')}/resume`)).status, 200);
    await until(async () => (await c.health('b1')).state === 'Healthy');
    assert.equal((await c.delete(backend('b1'))).status, 200);
    assert.equal((await c.get(backend('b1'))).status, 404);
    assert.equal((await c.delete(backend('b1'))).status, 204);
    assert.equal(slow.n(), 1);
    for (let i = 0; i < 4; i++) assert.equal((await c.call()).status, 200);
    assert.equal((await c.delete(backend('b2'))).status, 200);
    const none = await c.call();
    assert.ok(none.status >= 500, `${none.status}`);
    assert.deepEqual((await c.get(pool)).json().properties.health, { healthy: 0, ejected: 0, probing: 0, busy: 0, draining: 0, drained: 0 });
});

test('a backend that answers 429 is busy for as long as it said', { timeout: 60000 }, async (t) => {
    const c = await spawnWithDeployment(t);
    const a = await fetch(`${c.gateway.url}/openai/deployments/d/chat/completions?api-version=2024-10-21`, {
        method: 'POST', headers: { 'content-type': 'application/json', 'api-key': c.key, 'x-sim-fault': '429;retry-after-ms=30000' },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 5 }),
    });
    assert.equal(a.status, 429);
    const h = await c.health('b1');
    assert.equal(h.lastError.status, 429);
    assert.equal(h.state, 'Busy');
    assert.ok(Date.parse(h.until) > Date.now());
});

test('only operators see backends', async (t) => {
    const c = await spawnWithDeployment(t);
    const made = JSON.parse((await runWeir(['principal', 'create', 'app', '--json', '--data-dir', c.dataDir, '--role', 'Owner',
        '--scope', account('acct').split('/resourceGroups')[0]])).stdout);
    const token = await tokenOf(c.control, made.appId, made.password);
    for (const target of [pool, backend('b1'), `${pool}/backends`, '/providers/Weir.Capacity/pools'])
        assert.equal((await ask({ ...c, token }, 'GET', target + v)).status, 403, target);
    assert.equal((await ask({ ...c, token }, 'POST', `${backend('b1')}/drain${v}`)).status, 403);
    assert.equal((await ask({ control: c.control }, 'GET', pool + v)).status, 401);
    assert.equal((await c.health('b1')).state, 'Healthy');
});
