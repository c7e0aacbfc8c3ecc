// control.test.mjs - the control plane, by Azure's own packages and by plain requests.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
    account, accountBody, ask, callWith, deploymentBody, makeCertificate, operatorsResources, spawnControl, spawnWithAccount, subscription, tokenOf, v,
} from './control_support.mjs';
import { runWeir, spawnSimulator, tempFolder, until } from './support.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
describe("Azure's own packages", () => {
    test('manage accounts and deployments that the next call obeys', { timeout: 120000 }, async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        const { gateway, control, dataDir } = await spawnControl(t, { resources: operatorsResources(sim.url), loops: 2 });
        const made = await runWeir(['principal', 'create', 'reader', '--json', '--data-dir', dataDir]);
        assert.equal(made.code, 0, made.stderr);
        const reader = JSON.parse(made.stdout);
        const child = spawn(process.execPath, [path.join(here, 'azure_client.mjs')], {
            stdio: ['ignore', 'pipe', 'pipe'],
            env: {
                ...process.env, NODE_EXTRA_CA_CERTS: control.caFile, AZURE_AUTHORITY_HOST: control.controlEndpoint, AZURE_TENANT_ID: 'adfs',
                AZURE_CLIENT_ID: control.clientId, AZURE_CLIENT_SECRET: control.clientSecret,
                WEIR_TEST: JSON.stringify({
                    ...control, endpoint: control.controlEndpoint, subscription, dataUrl: gateway.url,
                    readerId: reader.appId, readerSecret: reader.password, readerObject: reader.objectId,
                }),
            },
        });
        let out = '', err = '';
        child.stdout.setEncoding('utf8').on('data', (d) => (out += d));
        child.stderr.setEncoding('utf8').on('data', (d) => (err += d));
        const code = await new Promise((resolve) => child.once('close', resolve));
        const steps = out.split(/^(?=(?:not )?ok - )/m).filter((s) => /^(not )?ok - /.test(s));
        assert.ok(steps.length > 15, out + err);
        for (const s of steps) {
            const [first, ...rest] = s.split('\n');
            await t.test(first.replace(/^(not )?ok - /, ''), () => assert.ok(first.startsWith('ok'), rest.join('\n')));
        }
        assert.equal(code, 0, out + err);
    });
});

describe('who may come in', () => {
    let c;
    before(async () => (c = await spawnWithAccount(null)));
    after(async () => {
        await c.gateway.stop();
        await c.sim.stop();
    });

    test('nobody without a token, and the answer says where to get one', async () => {
        const a = await ask({ control: c.control }, 'GET', `/subscriptions${v}`);
        assert.equal(a.status, 401);
        assert.equal(a.json().error.code, 'AuthenticationFailed');
        assert.match(a.headers['www-authenticate'], /^Bearer authorization_uri="https:\/\/localhost:\d+\//);
        assert.ok(a.headers['x-ms-request-id']);
    });

    test('no token that is forged, unsigned, of another key or cut short', async () => {
        const [head, body, signature] = c.token.split('.');
        const claims = JSON.parse(Buffer.from(body, 'base64url'));
        const encode = (o) => Buffer.from(JSON.stringify(o)).toString('base64url');
        const bad = [
            `${encode({ alg: 'none', typ: 'JWT' })}.${body}.`,
            `${encode({ alg: 'HS256', typ: 'JWT' })}.${body}.${signature}`,
            `${head}.${encode({ ...claims, appid: 'somebody-else' })}.${signature}`,
            `${head}.${encode({ ...claims, exp: claims.exp + 100000 })}.${signature}`,
            `${head}.${body}.${signature.slice(0, -4)}AAAA`,
            `${head}.${body}`, 'x', 'a.b.c', `${'a'.repeat(20000)}.b.c`,
        ];
        for (const token of bad) {
            const a = await ask({ control: c.control, token }, 'GET', `/subscriptions${v}`);
            assert.equal(a.status, 401, token.slice(0, 80));
            assert.match(a.json().error.code, /^(Invalid|Expired)AuthenticationToken$|^AuthenticationFailed$/);
        }
        assert.equal((await ask(c, 'GET', `/subscriptions${v}`)).status, 200);
    });

    test('no token that was meant for somebody else', async () => {
        const form = (scope) => String(new URLSearchParams({
            grant_type: 'client_credentials', client_id: c.control.clientId, client_secret: c.control.clientSecret, scope,
        }));
        const type = { 'content-type': 'application/x-www-form-urlencoded' };
        const a = await ask({ control: c.control }, 'POST', '/adfs/oauth2/token', form('https://elsewhere.example/.default'), type);
        const refused = await ask({ control: c.control, token: a.json().access_token }, 'GET', `/subscriptions${v}`);
        assert.equal(refused.status, 401);
        const b = await ask({ control: c.control }, 'POST', '/another-tenant/oauth2/v2.0/token', form(`${c.control.controlEndpoint}/.default`), type);
        assert.equal(b.status, 400);
        assert.match(b.json().error_description, /AADSTS90002/);
    });

    test('a principal comes, gets a role, calls by token, loses it, and goes', async () => {
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
        const run = (...args) => runWeir(['principal', ...args, '--data-dir', c.dataDir]);
        const made = await run('create', 'app', '--json', '--role', 'Cognitive Services OpenAI User', '--scope', account('acct'));
        assert.equal(made.code, 0, made.stderr);
        const { appId, objectId, password } = JSON.parse(made.stdout);
        assert.equal(appId, 'app');
        const listed = await run('list');
        assert.match(listed.stdout, /^app +\S+ +app$/m);
        assert.match(listed.stdout, /operator/);
        const token = await tokenOf(c.control, appId, password);
        const bearer = { authorization: `Bearer ${token}` };
        assert.equal((await callWith(c, bearer)).status, 200);
        // The role is of the data plane and reads accounts; it changes none.
        assert.equal((await ask({ ...c, token }, 'PUT', `${account('acct')}/deployments/e${v}`, deploymentBody(50))).status, 403);
        assert.equal((await ask({ ...c, token }, 'GET', `/providers/Weir.Capacity/principals${v}`)).status, 403);
        const assignments = (await ask(c, 'GET', `${account('acct')}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01`)).json().value
            .filter((a) => a.properties.principalId === objectId);
        assert.equal(assignments.length, 1);
        assert.equal((await ask(c, 'DELETE', `${assignments[0].id}?api-version=2022-04-01`)).status, 200);
        assert.equal((await callWith(c, bearer)).status, 403);
        // A role that is left behind helps nobody whose principal is gone.
        assert.equal((await run('create', 'app', '--json', '--role', 'Cognitive Services OpenAI User', '--scope', account('acct'))).code, 0);
        assert.equal((await callWith(c, bearer)).status, 200);
        assert.equal((await run('delete', 'app')).code, 0);
        assert.equal((await callWith(c, bearer)).status, 401);
        assert.equal((await ask({ ...c, token }, 'GET', `/subscriptions${v}`)).status, 401);
        assert.notEqual((await run('delete', 'app')).code, 0);
        assert.notEqual((await run('delete', c.control.clientId)).code, 0, 'not oneself');
        assert.equal((await c.delete(`${account('acct')}/deployments/d`)).status, 202);
    });

    test('a read shows what was changed before it, however often it was read, to everybody', async () => {
        const one = c, other = { control: c.control, token: await tokenOf(c.control) };
        const target = `${account('acct')}/deployments/reread`;
        const usages = `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`;
        const used = async (who) => (await ask(who, 'GET', usages + v)).json().value.find((u) => u.name.value === 'OpenAI.ProvisionedManaged').currentValue;
        const before = await used(one);
        for (let i = 0; i < 3; i++)
            assert.equal((await ask(one, 'GET', target + v)).status, 404);
        assert.equal((await one.put(target, deploymentBody(50))).status, 201);
        for (const size of [100, 50, 100, 50]) {
            const changed = await ask(other, 'PATCH', target + v, { sku: { capacity: size } });
            assert.equal(changed.status, 200, changed.body);
            for (const who of [one, one, other, other]) {
                const a = await ask(who, 'GET', target + v);
                assert.equal(a.json().sku.capacity, size);
                assert.equal(a.json().properties.provisioningState, 'Succeeded');
                assert.equal(a.headers.etag, a.json().etag);
                assert.equal(await used(who), before + size);
            }
        }
        // A condition is judged each time, and each answer has an id of its own.
        const [a, b] = [await ask(one, 'GET', target + v), await ask(one, 'GET', target + v)];
        assert.equal(a.body, b.body);
        assert.notEqual(a.headers['x-ms-request-id'], b.headers['x-ms-request-id']);
        assert.equal((await ask(one, 'GET', target + v, undefined, { 'if-none-match': a.headers.etag })).status, 304);
        assert.equal((await one.delete(target)).status, 202);
        await until(async () => (await ask(one, 'GET', target + v)).status === 404);
        assert.equal(await used(other), before);
    });

    test('a role that is taken away, and a principal that is deleted, can read no longer what they have just read', async (t) => {
        const made = await ask(c, 'PUT', `/providers/Weir.Capacity/principals/rereader${v}`, { properties: { displayName: 'rereader' } });
        assert.equal(made.status, 201, made.body);
        const { appId, objectId, secret } = made.json().properties;
        const reader = { control: c.control, token: await tokenOf(c.control, appId, secret) };
        const role = `${account('acct')}/providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555`;
        const read = async () => (await ask(reader, 'GET', account('acct') + v)).status;
        assert.equal(await read(), 403);
        for (let i = 0; i < 2; i++) {
            const given = await c.put(role, { properties: {
                principalId: objectId, roleDefinitionId: '/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7',
            } });
            assert.equal(given.status, 201, given.body);
            assert.equal(await read(), 200);
            assert.equal(await read(), 200);
            if (i === 0)
                assert.equal((await c.delete(role)).status, 200);
            else
                assert.equal((await c.delete(`/providers/Weir.Capacity/principals/${appId}`)).status, 200);
            assert.equal(await read(), i === 0 ? 403 : 401);
        }
    });

    test('nothing that is malformed changes or breaks anything', async () => {
        const big = JSON.stringify({ ...accountBody, tags: { a: 'x'.repeat(1 << 20) } });
        const d = `${account('acct')}/deployments/d`;
        const cases = [
            ['PUT', account('acct') + v, '{"kind": ', 400], ['PUT', account('acct') + v, '[]', 400], ['PUT', account('acct') + v, '"x"', 400],
            ['PUT', account('acct') + v, { ...accountBody, sku: 7 }, 400], ['PUT', account('acct') + v, { ...accountBody, location: {} }, 400],
            ['PUT', account('acct'), accountBody, 400], ['PUT', `${account('acct')}?api-version=soon`, accountBody, 400],
            ['PUT', account('x') + v, accountBody, 400], ['PUT', account("a'--") + v, accountBody, 400], ['PUT', account('%2e%2e%2fx') + v, accountBody, 400],
            ['PUT', account('a'.repeat(65)) + v, accountBody, 400], ['PUT', account('new') + v, { ...accountBody, location: 'atlantis' }, 400],
            ['PUT', account('new') + v, big, 413], ['PUT', account('new', 'nogroup') + v, accountBody, 404],
            ['PUT', d + v, deploymentBody(0), 400], ['PUT', d + v, deploymentBody(-50), 400], ['PUT', d + v, deploymentBody('5e1'), 400],
            ['PUT', d + v, deploymentBody(1e300), 400], ['PUT', d + v, deploymentBody(50, 'Cheap'), 400], ['PUT', d + v, {}, 400],
            ['PUT', d + v, '['.repeat(100000), 400], ['PATCH', `${d}${v}`, { sku: { capacity: 50 } }, 404], ['GET', d + v, undefined, 404],
            ['POST', account('acct') + v, {}, 405], ['GET', `/subscriptions/not-a-guid/resourceGroups${v}`, undefined, 404],
            ['GET', `/subscriptions/${subscription}/providers/Microsoft.Compute/virtualMachines${v}`, undefined, 404],
            ['GET', `/${'x/'.repeat(2000)}${v}`, undefined, 400], ['GET', `/${'x'.repeat(9000)}${v}`, undefined, 414],
            ['PUT', `/providers/Weir.Capacity/principals/bad%20id${v}`, {}, 400], ['DELETE', `/providers/Weir.Capacity/principals/nobody${v}`, undefined, 204],
        ];
        const before = (await c.get(`/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/accounts`)).body;
        for (const [method, target, body, status] of cases) {
            const a = await ask(c, method, target, body);
            assert.equal(a.status, status, `${method} ${target.slice(0, 200)} ${String(JSON.stringify(body)).slice(0, 80)}: ${a.status} ${a.body.slice(0, 300)}`);
            if (status >= 400) assert.ok(a.json().error.code && a.json().error.message, a.body);
        }
        assert.equal((await c.get(`/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/accounts`)).body, before);
    });
});

describe('what was answered', () => {
    for (const signal of ['SIGTERM', 'SIGKILL']) {
        test(`is there after ${signal}, key and all, and is obeyed`, async (t) => {
            const folder = tempFolder();
            const first = await spawnWithAccount(t, { folder });
            assert.equal((await first.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
            assert.equal((await first.put(`${account('acct')}/deployments/s`, deploymentBody(10, 'Standard'))).status, 201);
            const usages = `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`;
            const before = (await first.get(usages)).json().value;
            first.gateway.signal(signal);
            await first.gateway.ended;
            const second = await spawnControl(t, { folder });
            second.token = await tokenOf(second.control);
            assert.equal(second.control.clientSecret, first.control.clientSecret);
            assert.equal((await callWith(second, { 'api-key': first.key })).status, 200);
            const got = await ask(second, 'GET', `${account('acct')}/deployments/d${v}`);
            assert.equal(got.json().properties.provisioningState, 'Succeeded');
            assert.deepEqual((await ask(second, 'GET', usages + v)).json().value, before);
            // Yesterday's token is still good: the key that signs is kept.
            assert.equal((await ask({ ...second, token: first.token }, 'GET', `/subscriptions${v}`)).status, first.control.controlEndpoint === second.control.controlEndpoint ? 200 : 401);
        });
    }

    test('survives kill -9 in a stream of changes: all that was acknowledged, nothing by half', { timeout: 120000 }, async (t) => {
        const folder = tempFolder();
        let c = await spawnWithAccount(t, { folder, ptus: 100000 });
        const wanted = new Map(); // name to { capacity, isSure }
        for (let round = 0; round < 4; round++) {
            let isOver = false;
            const writers = Array.from({ length: 4 }, async (_, w) => {
                for (let i = 0; !isOver; i++) {
                    const name = `d${round}-${w}-${i % 5}`, capacity = 1 + (i % 7);
                    const before = wanted.get(name);
                    wanted.set(name, { capacity, isSure: false, before });
                    const a = await c.put(`${account('acct')}/deployments/${name}`, deploymentBody(capacity, 'GlobalStandard')).catch(() => null);
                    if (a?.status === 200 || a?.status === 201) wanted.set(name, { capacity, isSure: true });
                    else if (a) wanted.set(name, before); // refused: the ceiling of standard deployments
                    else return;
                }
            });
            const enough = [...wanted.values()].filter((x) => x?.isSure).length + 5;
            await until(() => [...wanted.values()].filter((x) => x?.isSure).length >= Math.min(enough, 28), 20000);
            c.gateway.signal('SIGKILL');
            await c.gateway.ended;
            isOver = true;
            await Promise.all(writers);
            const next = await spawnControl(t, { folder });
            c = { ...c, ...next, token: await tokenOf(next.control) };
            c.put = (target, body) => ask(c, 'PUT', target + v, body);
            c.get = (target) => ask(c, 'GET', target + v);
            const there = new Map((await c.get(`${account('acct')}/deployments`)).json().value.map((d) => [d.name, d]));
            for (const [name, x] of [...wanted]) {
                if (!x) continue;
                const found = there.get(name)?.sku.capacity;
                const mayBe = x.isSure ? [x.capacity] : [x.capacity, x.before?.capacity];
                assert.ok(mayBe.includes(found), `${name}: ${found}, not ${mayBe}`);
                wanted.set(name, found === undefined ? undefined : { capacity: found, isSure: true });
            }
            const used = (await c.get(`/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`)).json().value
                .find((u) => u.name.value === 'OpenAI.GlobalStandard.gpt-4o');
            assert.equal(used.currentValue, [...there.values()].reduce((sum, d) => sum + d.sku.capacity, 0));
        }
    });
});

describe('quota and capacity', () => {
    test('hold under sixteen writers', { timeout: 120000 }, async (t) => {
        const c = await spawnWithAccount(t, { ptus: 300, loops: 2 });
        let n = 0, granted = 0, refused = 0;
        // Drawn, so that what is asked for does not depend on the order in which writers take their turn.
        let state = 1;
        const below = (k) => (state = (state * 69069 + 12345) % 4294967296, Math.floor(state / 65536) % k);
        const writer = async () => {
            while (n++ < 400) {
                const target = `${account('acct')}/deployments/w${below(12)}`;
                const a = below(4) === 0 ? await c.delete(target) : await c.put(target, deploymentBody(50 * (1 + below(3))));
                assert.ok([200, 201, 202, 204, 400, 409].includes(a.status), `${a.status} ${a.body}`);
                if (a.status === 400) assert.match(a.json().error.code, /^Insufficient(Quota|Capacity)$/);
                a.status === 400 ? refused++ : granted++;
            }
        };
        const watcher = async () => {
            while (n < 400) {
                const all = (await c.get(`${account('acct')}/deployments`)).json().value;
                const sum = all.reduce((s, d) => s + d.sku.capacity, 0);
                assert.ok(sum <= 300, `${sum} PTUs are deployed`);
            }
        };
        await Promise.all([watcher(), ...Array.from({ length: 16 }, writer)]);
        assert.ok(granted > 50 && refused > 10, `${granted} granted, ${refused} refused`);
        const all = (await c.get(`${account('acct')}/deployments`)).json().value;
        const used = (await c.get(`/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages`)).json().value
            .find((u) => u.name.value === 'OpenAI.ProvisionedManaged');
        assert.equal(used.currentValue, all.reduce((s, d) => s + d.sku.capacity, 0));
    });

    test('hold for files read at start as docs/resources.md has them: without a kind, and larger than the quota', async (t) => {
        const resources = [...operatorsResources('http://127.0.0.1:9'),
            { id: account('byfile'), location: 'eastus', properties: {} },
            { id: `${account('byfile')}/deployments/d`, ...deploymentBody(900, 'Standard') }];
        const { control } = await spawnControl(t, { resources });
        const c = { control, token: await tokenOf(control) };
        assert.equal((await ask(c, 'GET', account('byfile') + v)).json().kind, 'OpenAI');
        const usages = await ask(c, 'GET', `/subscriptions/${subscription}/providers/Microsoft.CognitiveServices/locations/eastus/usages${v}`);
        assert.deepEqual(usages.json().value.filter((u) => u.name.value === 'OpenAI.Standard.gpt-4o').map((u) => [u.currentValue, u.limit]), [[900, 900]]);
    });

    test('of accounts and standard deployments in number are settings', async (t) => {
        const c = await spawnWithAccount(t, { args: ['--accounts-per-location', '2', '--standard-deployments-per-account', '1'] });
        const codeOf = async (target, body) => {
            const a = await c.put(target, body);
            return a.status === 201 ? 'made' : a.json().error.code;
        };
        assert.equal(await codeOf(account('second'), accountBody), 'made');
        assert.equal(await codeOf(account('third'), accountBody), 'AccountLimitReached');
        assert.equal(await codeOf(`${account('acct')}/deployments/a`, deploymentBody(1, 'Standard')), 'made');
        assert.equal(await codeOf(`${account('acct')}/deployments/b`, deploymentBody(1, 'Standard')), 'StandardDeploymentLimitReached');
        assert.equal(await codeOf(`${account('second')}/deployments/b`, deploymentBody(1, 'Standard')), 'made');
    });

    test('tell what would fit elsewhere when capacity is short though quota is not', async (t) => {
        const c = await spawnWithAccount(t, { ptus: 100 });
        const a = await c.put(`${account('acct')}/deployments/d`, deploymentBody(150));
        assert.equal(a.status, 400);
        const { error } = a.json();
        assert.equal(error.code, 'InsufficientCapacity');
        assert.match(error.message, /100/);
        assert.ok(error.details?.length || error.additionalInfo?.length, a.body);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(100))).status, 201);
    });

    test('a request for more waits for the operator, who tells the asker, though not at the first attempt', { timeout: 60000 }, async (t) => {
        const folder = tempFolder();
        const tls = makeCertificate(folder, 'hook');
        const told = [];
        const hook = https.createServer(tls, (q, a) => {
            let text = '';
            q.setEncoding('utf8').on('data', (d) => (text += d)).on('end', () => {
                told.push({ method: q.method, url: q.url, type: q.headers['content-type'], body: JSON.parse(text) });
                a.writeHead(told.length === 1 ? 503 : 200).end('thanks');
            });
        });
        await new Promise((resolve) => hook.listen(0, '127.0.0.1', resolve));
        t.after(() => hook.close());
        const c = await spawnWithAccount(t, { ptus: 2000, env: { SSL_CERT_FILE: tls.file }, args: ['--webhook-hosts', 'hooks.example, localhost'] });
        const place = `/subscriptions/${subscription}/providers/Weir.Capacity/quotaRequests`;
        const wish = { location: 'eastus', quotaName: 'OpenAI.ProvisionedManaged', limit: 800, webhook: `https://localhost:${hook.address().port}/told?by=weir` };
        const made = await ask(c, 'POST', place + v, { properties: wish });
        assert.equal(made.status, 201, made.body);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(600))).json().error.code, 'InsufficientQuota');
        const { value: queue } = (await c.get('/providers/Weir.Capacity/quotaRequests')).json();
        assert.deepEqual(queue.map((q) => [q.id, q.properties.status, q.properties.currentLimit]), [[made.json().id, 'Queued', 500]]);
        const decided = await ask(c, 'POST', `${made.json().id}/approve${v}`, { properties: { answer: 'granted' } });
        assert.equal(decided.status, 200, decided.body);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(600))).status, 201);
        await until(() => told.length === 2);
        for (const n of told) {
            assert.deepEqual([n.method, n.url, n.type], ['POST', '/told?by=weir', 'application/json']);
            assert.deepEqual([n.body.id, n.body.properties.status, n.body.properties.answer], [made.json().id, 'Approved', 'granted']);
        }
        assert.equal((await ask(c, 'POST', `${made.json().id}/refuse${v}`)).status, 409);
    });
});

describe('the planes', () => {
    test('a locked database stops changes and no call', { timeout: 60000 }, async (t) => {
        const c = await spawnWithAccount(t);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(100))).status, 201);
        const lock = spawn('python3', ['-c', `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
db.execute("ROLLBACK")
`, path.join(c.dataDir, 'weir.db')], { stdio: ['pipe', 'pipe', 'inherit'] });
        t.after(() => lock.kill());
        await new Promise((resolve) => lock.stdout.once('data', resolve));
        let isAnswered = false;
        const change = c.put(`${account('acct')}/deployments/late`, deploymentBody(50)).then((a) => ((isAnswered = true), a));
        for (let i = 0; i < 50; i++) assert.equal((await callWith(c, { 'api-key': c.key })).status, 200);
        assert.equal(isAnswered, false);
        lock.stdin.end();
        assert.equal((await change).status, 201);
        assert.equal((await callWith(c, { 'api-key': c.key }, 'late')).status, 200);
    });

    test('a stream goes on while its deployment is deleted, and the next call is refused', async (t) => {
        const c = await spawnWithAccount(t);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
        const stream = await fetch(`${c.gateway.url}/openai/deployments/d/chat/completions?api-version=2024-10-21`, {
            method: 'POST', headers: { 'content-type': 'application/json', 'api-key': c.key, 'x-sim-fault': 'slow-start;ms=1000' },
            body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 20, stream: true }),
        });
        assert.equal((await c.delete(`${account('acct')}/deployments/d`)).status, 202);
        assert.equal((await callWith(c, { 'api-key': c.key })).status, 404);
        assert.match(await stream.text(), /data: \[DONE\]/);
    });
});

describe('weir apply', () => {
    test('shows what would change, changes it, and then nothing more', async (t) => {
        const c = await spawnWithAccount(t);
        const file = path.join(c.dataDir, '..', 'more.json');
        const wanted = (capacity) => [
            { id: account('byfile'), kind: 'OpenAI', location: 'eastus', sku: { name: 'S0' }, properties: { customSubDomainName: 'byfile' } },
            { id: `${account('byfile')}/deployments/d`, ...deploymentBody(capacity) },
        ];
        const run = async (...args) => {
            const done = await runWeir(['apply', '-f', file, '--data-dir', c.dataDir, ...args]);
            return { ...done, summary: done.stdout.trim().split('\n').at(-1) };
        };
        writeFileSync(file, JSON.stringify(wanted(50)));
        assert.equal((await run('--dry-run')).summary, '2 new, 0 changed, 0 as wanted (nothing was done)');
        assert.equal((await c.get(account('byfile'))).status, 404);
        const first = await run();
        assert.equal(first.summary, '2 new, 0 changed, 0 as wanted', first.stdout + first.stderr);
        const again = await run();
        assert.equal(again.summary, '0 new, 0 changed, 2 as wanted', again.stdout);
        writeFileSync(file, JSON.stringify(wanted(100)));
        const grown = await run();
        assert.equal(grown.summary, '0 new, 1 changed, 1 as wanted', grown.stdout);
        assert.match(grown.stdout, /sku\.capacity: 50 -> 100/);
        assert.equal((await c.get(`${account('byfile')}/deployments/d`)).json().sku.capacity, 100);
        writeFileSync(file, JSON.stringify(wanted(51)));
        const refused = await run();
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /more\.json:\/1.*InvalidCapacity/);
        const nowhere = await runWeir(['apply', '-f', file, '--data-dir', path.join(c.dataDir, 'none')]);
        assert.equal(nowhere.code, 1);
        assert.match(nowhere.stderr, /operator\.json/);
    });

    test('goes on after a refusal with all that does not lie in it, and tells what became of each', async (t) => {
        const c = await spawnWithAccount(t);
        const file = path.join(c.dataDir, '..', 'several.json');
        const [bad, good] = [account('bad'), account('good')];
        const wanted = [
            { id: bad, ...accountBody, kind: 'Face' }, { id: good, ...accountBody }, { id: account('badly'), ...accountBody },
            { id: `${bad}/deployments/d`, ...deploymentBody(50) }, { id: `${good}/deployments/d`, ...deploymentBody(51) },
            { id: `${good}/deployments/e`, ...deploymentBody(50) },
        ];
        writeFileSync(file, JSON.stringify(wanted));
        const run = async () => await runWeir(['apply', '-f', file, '--data-dir', c.dataDir]);
        const first = await run();
        assert.equal(first.code, 1);
        assert.deepEqual(first.stdout.trim().split('\n').map((l) => l.trim()), [
            `! ${bad}: refused`, `+ ${good}`, `+ ${account('badly')}`, `! ${bad}/deployments/d: not tried`,
            `! ${good}/deployments/d: refused`, `+ ${good}/deployments/e`, '3 new, 0 changed, 0 as wanted, 2 refused, 0 without an answer, 1 not tried',
        ]);
        assert.match(first.stderr, /several\.json:\/0: InvalidResourceProperties.*kind[^]*several\.json:\/4: InvalidCapacity/);
        assert.equal((await c.get(`${good}/deployments/e`)).json().sku.capacity, 50);
        wanted[0].kind = 'OpenAI';
        wanted[4].sku.capacity = 100;
        writeFileSync(file, JSON.stringify(wanted));
        const second = await run();
        assert.equal(second.code, 0, second.stderr);
        assert.match(second.stdout, /\n3 new, 0 changed, 3 as wanted\n$/);
    });

    test('says of which request no answer came, and does not try the others', async (t) => {
        const c = await spawnWithAccount(t);
        const folder = path.join(c.dataDir, '..');
        const [file, operator] = [path.join(folder, 'cut.json'), path.join(folder, 'cut-operator.json')];
        const long = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`tag${i}`, 'x'.repeat(200)]));
        writeFileSync(file, JSON.stringify([
            { id: account('before'), ...accountBody }, { id: account('during'), ...accountBody, tags: long }, { id: account('after'), ...accountBody },
        ]));
        // Passes everything on but the answer to the one long request: when that is done, the connection is cut.
        const given = JSON.parse(readFileSync(path.join(c.dataDir, 'operator.json'), 'utf8'));
        const server = createServer((client) => {
            const there = connect(Number(new URL(given.controlEndpoint).port), '127.0.0.1');
            let asked = 0;
            for (const [from, to] of [[client, there], [there, client]]) from.on('error', () => {}).on('close', () => to.destroy());
            client.on('data', (bytes) => {
                there.write(bytes);
                if (asked <= 8000 && (asked += bytes.length) > 8000)
                    until(async () => (await c.get(account('during'))).status === 200).finally(() => client.destroy());
            });
            there.on('data', (bytes) => asked > 8000 || client.write(bytes));
        });
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => server.close());
        writeFileSync(operator, JSON.stringify({ ...given, controlEndpoint: `https://127.0.0.1:${server.address().port}` }));
        const done = await runWeir(['apply', '-f', file, '--operator', operator]);
        assert.equal(done.code, 1);
        assert.deepEqual(done.stdout.trim().split('\n').map((l) => l.trim()), [
            `+ ${account('before')}`, `? ${account('during')}: sent, and no answer came`, `! ${account('after')}: not tried`,
            '1 new, 0 changed, 0 as wanted, 0 refused, 1 without an answer, 1 not tried',
        ], done.stderr);
        assert.equal((await c.get(account('during'))).json().tags.tag39, long.tag39);
        assert.equal((await c.get(account('after'))).status, 404);
        const again = await runWeir(['apply', '-f', file, '--data-dir', c.dataDir]);
        assert.match(again.stdout, /\n1 new, 0 changed, 2 as wanted\n$/, again.stderr);
    });

    test('sends the secrets that files and variables hold, and says which cannot be read', async (t) => {
        const c = await spawnWithAccount(t);
        const folder = path.join(c.dataDir, '..');
        const file = path.join(folder, 'secrets.json');
        const put = (keys) => writeFileSync(file, JSON.stringify([{ id: account('withkeys'), ...accountBody, properties: { keys } }]));
        const run = (env) => runWeir(['apply', '-f', file, '--data-dir', c.dataDir], { env });
        put({ key1File: 'none.key', key2Env: 'WEIR_TEST_KEY' });
        const refused = await run({ WEIR_TEST_KEY: 'second-key-of-the-account-0002' });
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /secrets\.json.*none\.key/);
        writeFileSync(path.join(folder, 'one.key'), 'first-key-of-the-account-00001\n');
        put({ key1File: 'one.key', key2Env: 'WEIR_TEST_KEY' });
        const done = await run({ WEIR_TEST_KEY: 'second-key-of-the-account-0002' });
        assert.equal(done.code, 0, done.stderr);
        const keys = (await ask(c, 'POST', `${account('withkeys')}/listKeys${v}`)).json();
        assert.deepEqual(keys, { key1: 'first-key-of-the-account-00001', key2: 'second-key-of-the-account-0002' });
    });

    test('keeps its secrets to itself', async (t) => {
        const c = await spawnWithAccount(t);
        for (const name of ['operator.json', 'weir.db', 'seal.key', 'token.pem', 'ca.key'])
            assert.equal(statSync(path.join(c.dataDir, name)).mode & 0o077, 0, name);
        // A key stands nowhere on the disk in clear.
        for (const name of ['weir.db', 'weir.db-wal'])
            assert.ok(!readFileSync(path.join(c.dataDir, name)).includes(c.key), name);
        assert.ok(!c.gateway.stderr().includes(c.control.clientSecret));
    });
});
