// intruders.test.mjs - the control plane under those who would come in, or stop others: nothing is a 500, nobody waits for ever.
import assert from 'node:assert/strict';
import https from 'node:https';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { account, accountBody, ask, callWith, deploymentBody, operatorsResources, spawnControl, spawnWithAccount, subscription, tokenOf, v } from './control_support.mjs';
import { runWeir, tempFolder, until as waitFor } from './support.mjs';

// A busy machine takes its time.
const until = (fn, ms = 30000) => waitFor(fn, ms);

const form = { 'content-type': 'application/x-www-form-urlencoded' };
const encode = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url');

describe('the control plane', () => {
    let c;
    before(async () => (c = await spawnWithAccount(null, { loops: 2 })));
    after(async () => {
        await c.gateway.stop();
        await c.sim.stop();
    });
    const isAlive = async () => assert.equal((await c.get(account('acct'))).status, 200);

    test('takes no id out of its scope, whatever it is made of', async () => {
        const parts = ['..', '.', '%2e%2e', '%2E%2E%2F', '..%2f..%2f', '%00', '%0d%0aX: y', '%ff%fe', '%c0%af', '%', '%zz', '*', "'", '"', '{}', '$(id)', '\\..\\', ' ', '%20',
            'a'.repeat(300), '%61'.repeat(300), '-', '_', '😀', '%F0%9F%98%80', 'acct%2fdeployments%2fd', 'acct/../acct', 'ACCT;x=1', 'acct?x', 'acct#x'];
        const scopes = [(x) => `/subscriptions/${x}`, (x) => `/subscriptions/${subscription}/resourceGroups/${x}`, (x) => account(x), (x) => account('acct', x),
            (x) => `${account('acct')}/deployments/${x}`, (x) => `/providers/Weir.Capacity/pools/${x}`, (x) => `/providers/Weir.Capacity/pools/tests/backends/${x}`,
            (x) => `/providers/Weir.Capacity/principals/${x}`, (x) => `${account('acct')}/providers/Microsoft.Authorization/roleAssignments/${x}`,
            (x) => `/subscriptions/${subscription}/providers/Weir.Capacity/locations/${x}/quotas/OpenAI.Standard.gpt-4o`,
            (x) => `/subscriptions/${subscription}/providers/Weir.Capacity/quotaRequests/${x}/approve`];
        const before = JSON.stringify((await c.get(`/subscriptions/${subscription}/resources`)).json());
        const stranger = JSON.parse((await runWeir(['principal', 'create', 'stranger', '--json', '--data-dir', c.dataDir])).stdout);
        const token = await tokenOf(c.control, stranger.appId, stranger.password);
        for (const scope of scopes) {
            for (const x of parts) {
                for (const method of ['GET', 'DELETE', 'PATCH', 'POST', 'PUT']) {
                    let a;
                    try {
                        // Nobody without a role: whatever this is taken for, it may not be done.
                        a = await ask({ ...c, token }, method, encodeURI(scope(x)).replace(/%25/g, '%') + v, method === 'GET' ? undefined : '{}');
                    } catch (e) {
                        assert.match(e.code ?? e.message, /ERR_UNESCAPED_CHARACTERS/);
                        continue;
                    }
                    assert.ok(a.status >= 400 && a.status < 500 || (a.status === 200 && method === 'GET') || a.status === 204 || a.status === 503,
                        `${method} ${scope(x)}: ${a.status} ${a.body}`);
                    if (a.status === 200) assert.ok(!/"keys|acct|principals/.test(a.body), `${scope(x)}: ${a.body}`);
                }
            }
        }
        assert.equal(JSON.stringify((await c.get(`/subscriptions/${subscription}/resources`)).json()), before);
    });

    test('refuses forms and headers of any kind by a number of its own', async () => {
        const id = c.control.clientId, secret = c.control.clientSecret, scope = `${c.control.controlEndpoint}/.default`;
        const good = { grant_type: 'client_credentials', client_id: id, client_secret: secret, scope };
        const bodies = [
            '', '=', '&&&', '%', 'client_id', 'a'.repeat(70000), '{"grant_type":"client_credentials"}', '\0\0\0',
            String(new URLSearchParams({ ...good, client_secret: 'x'.repeat(5000) })), String(new URLSearchParams({ ...good, client_id: 'x'.repeat(5000) })),
            String(new URLSearchParams({ ...good, client_id: `${id}\n` })), String(new URLSearchParams({ ...good, client_id: `${id}\0x` })),
            String(new URLSearchParams({ ...good, client_id: "' OR 1=1 --" })), String(new URLSearchParams({ ...good, client_secret: '' })),
            String(new URLSearchParams({ ...good, grant_type: 'password', username: 'a', password: 'b' })),
            String(new URLSearchParams({ ...good, scope: 'x'.repeat(5000) })), String(new URLSearchParams({ ...good, scope: 'https://a/.default https://b/.default' })),
            `client_id=${id}&client_id=${id}&grant_type=client_credentials`,
        ];
        for (const body of bodies) {
            const a = await ask({ control: c.control }, 'POST', '/adfs/oauth2/token', body, form);
            assert.ok([400, 401, 413].includes(a.status), `${body.slice(0, 60)}: ${a.status} ${a.body}`);
            assert.ok(!a.body.includes('access_token'), body.slice(0, 60));
            assert.ok(!a.body.includes(secret));
        }
        for (const authorization of ['Bearer', 'Bearer ', 'Bearer  x', 'bearer a.b.c', 'Basic YTpi', 'Negotiate x', `Bearer ${c.token}, Bearer ${c.token}`, `Bearer ${c.token} `.repeat(3)]) {
            const a = await ask({ control: c.control }, 'GET', account('acct') + v, undefined, { authorization });
            assert.equal(a.status, 401, authorization.slice(0, 40));
        }
        await isAlive();
    });

    test('believes no token with parts of others', async () => {
        const [head, body, signature] = c.token.split('.');
        const claims = JSON.parse(Buffer.from(body, 'base64url')), header = JSON.parse(Buffer.from(head, 'base64url'));
        const bad = [
            `${encode({ ...header, alg: 'none' })}.${body}.`, `${encode({ ...header, alg: '' })}.${body}.${signature}`, `${encode({ ...header, alg: 'RS512' })}.${body}.${signature}`,
            `${encode({ ...header, kid: '../../token.pem' })}.${body}.${signature}`, `${encode({ ...header, kid: `${header.kid}\0` })}.${body}.${signature}`,
            `${encode({ ...header, kid: undefined })}.${body}.${signature}`, `${encode({ ...header, jwk: { kty: 'oct', k: '' } })}.${body}.${signature}`,
            `${head}.${encode({ ...claims, oid: 'x'.repeat(10000) })}.${signature}`, `${head}.${encode('{"aud":"a","aud":"b"}')}.${signature}`,
            `${head}.${encode({ ...claims, exp: 1e300 })}.${signature}`, `${head}.${encode({ ...claims, exp: '9999999999' })}.${signature}`, `${head}.${encode('['.repeat(5000))}.${signature}`,
            `${head}.${body}.${signature}.${signature}`, `${head}..${signature}`, `.${body}.${signature}`, `..`, `${head}.${body}.${signature}=`, `${head}.${body}.${signature.replace(/.$/, '!')}`,
        ];
        for (const token of bad) {
            assert.equal((await ask({ ...c, token }, 'GET', account('acct') + v)).status, 401, token.slice(0, 100));
            assert.equal((await callWith(c, { authorization: `Bearer ${token}` })).status, 401, token.slice(0, 100));
        }
        await isAlive();
    });

    test('wrong secrets without end keep nobody else from a token', { timeout: 60000 }, async () => {
        const other = JSON.parse((await runWeir(['principal', 'create', 'patient', '--json', '--data-dir', c.dataDir])).stdout);
        const guess = () => ask({ control: c.control }, 'POST', '/adfs/oauth2/token', String(new URLSearchParams({
            grant_type: 'client_credentials', client_id: c.control.clientId, client_secret: 'x'.repeat(40), scope: `${c.control.controlEndpoint}/.default`,
        })), form);
        const guesses = Array.from({ length: 150 }, guess);
        await tokenOf(c.control, other.appId, other.password);
        const statuses = (await Promise.all(guesses)).map((a) => a.status);
        assert.ok(statuses.every((s) => s === 401 || s === 503), `${[...new Set(statuses)]}`);
        assert.ok(statuses.includes(503), 'the queue of one application is short');
        assert.ok(statuses.includes(401));
        await tokenOf(c.control);
    });

    test('half a request, and a client that leaves, hold nothing', async () => {
        const { port } = new URL(c.control.controlEndpoint);
        for (let i = 0; i < 20; i++) {
            const q = https.request({ port, host: 'localhost', ca: readFileSync(c.control.caFile), method: 'PUT', path: account('half') + v,
                headers: { authorization: `Bearer ${c.token}`, 'content-length': 500 } });
            q.on('error', () => {});
            q.write('{"kind":"OpenAI"');
            setTimeout(() => q.destroy(), i % 5);
            const b = https.request({ port, host: 'localhost', ca: readFileSync(c.control.caFile), method: 'PUT', path: `/providers/Weir.Capacity/principals/left${i}${v}`,
                headers: { authorization: `Bearer ${c.token}` } });
            b.on('error', () => {});
            b.end('{}');
            setTimeout(() => b.destroy(), 5 * (i % 5));
        }
        await isAlive();
        assert.equal((await c.get(account('half'))).status, 404);
    });
});

test('of changes at once to one thing some win, none is done by half, and a restart finds what was answered last', { timeout: 120000 }, async (t) => {
    const folder = tempFolder();
    const c = await spawnWithAccount(t, { folder, loops: 2 });
    const role = 'acdd72a7-3385-48ef-bd42-f606fba81ae7';
    const assignment = (n) => `${account('acct')}/providers/Microsoft.Authorization/roleAssignments/7b0f0c1e-9f33-4c1d-8d5e-00000000000${n}`;
    const kinds = [
        [account('twin'), () => accountBody], [`${account('acct')}/deployments/d`, (i) => deploymentBody(50 * (1 + (i % 3)))],
        ['/providers/Weir.Capacity/pools/tests/backends/b9', (i) => ({ properties: { url: `http://127.0.0.1:${1000 + (i % 5)}` } })],
        ['/providers/Weir.Capacity/pools/more', (i) => ({ location: 'eastus', properties: { ptus: 100 + (i % 5), models: [{ name: 'gpt-4o' }] } })],
        [assignment(1), () => ({ properties: { roleDefinitionId: `/providers/Microsoft.Authorization/roleDefinitions/${role}`, principalId: '0f8fad5b-d9cb-469f-a165-70867728950e' } })],
        ['/subscriptions/11111111-2222-3333-4444-555555555555', (i) => ({ displayName: `s${i % 3}` })],
        [`/subscriptions/${subscription}/resourceGroups/twin`, (i) => ({ location: 'eastus', tags: { n: `${i % 3}` } })],
        [`/subscriptions/${subscription}/providers/Weir.Capacity/locations/eastus/quotas/OpenAI.Standard.gpt-4o`, (i) => ({ properties: { limit: 1000 + (i % 5) } })],
        ['/providers/Weir.Capacity/principals/twin', () => ({})],
    ];
    await Promise.all(kinds.flatMap(([target, body], k) => Array.from({ length: 6 }, async (_, w) => {
        for (let i = 0; i < (k === kinds.length - 1 ? 2 : 12); i++) {
            const n = i * 6 + w;
            const a = n % 3 === 2 ? await c.delete(target) : n % 3 === 1 ? await c.get(target) : await c.put(target, body(n));
            // 409 and 400: it is there deleted, being deleted, or still in use; 503: too many secrets at once.
            assert.ok([200, 201, 202, 204, 400, 404, 409, 503].includes(a.status), `${target}: ${a.status} ${a.body}`);
            if (a.status === 503) assert.match(target, /principals/);
        }
    })));
    const reads = [...kinds.map(([target]) => target).filter((x) => !x.includes('principals')), `/subscriptions/${subscription}/resources`,
        `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`, '/providers/Weir.Capacity/pools'];
    await until(async () => (await Promise.all(reads.map((x) => c.get(x)))).every((a) => !/"provisioningState":"(Accepted|Creating|Updating|Deleting)"/.test(a.body)));
    const read = async (x) => Object.fromEntries(await Promise.all(reads.map(async (target) => {
        const a = await ask(x, 'GET', target + v);
        const shown = a.status === 200 ? JSON.parse(a.body.replace(/,?"health":\{[^}]*\}/g, '')) : a.status;
        return [target, target.includes('/quotas/') ? shown.properties : shown]; // a quota that nobody set was made when it was asked for
    })));
    const before = await read(c);
    c.gateway.signal('SIGKILL');
    await c.gateway.ended;
    const again = await spawnControl(t, { folder, resources: operatorsResources(c.sim.url) });
    again.token = await tokenOf(again.control);
    assert.deepEqual(JSON.parse(JSON.stringify(await read(again)).replaceAll(new URL(again.gateway.url).host, new URL(c.gateway.url).host)), before);
});
