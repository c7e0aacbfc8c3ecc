// upkeep.test.mjs - what a running control plane renews without a restart: certificates, and the key of its tokens.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import {
    account, ask, callWith, deploymentBody, makeCertificate, operatorsResources, spawnControl, spawnWithAccount, subscription, tokenOf, v,
} from './control_support.mjs';
import { freePort, readLines, resourceSet, runWeir, spawnGateway, spawnSimulator, tempFolder, until as waitFor } from './support.mjs';

// A busy machine takes its time.
const until = (fn, ms = 30000) => waitFor(fn, ms);

// The certificate that a listener shows to a new connection.
function shown(url, ca) {
    const { port } = new URL(url);
    return new Promise((resolve, reject) => {
        const s = tls.connect({ host: '127.0.0.1', port: Number(port), servername: 'localhost', ca }, () => {
            const c = s.getPeerCertificate();
            s.end();
            resolve({ serial: c.serialNumber, name: c.subject.CN, endsMs: Date.parse(c.valid_to) });
        });
        s.on('error', reject);
    });
}

test('the certificate is made anew before its end while the process runs, and no client notices', { timeout: 60000 }, async (t) => {
    const c = await spawnWithAccount(t, { args: ['--control-cert-validity', '12s'] });
    const ca = readFileSync(c.control.caFile);
    const first = await shown(c.control.controlEndpoint, ca);
    assert.ok(first.endsMs <= Date.now() + 13000);
    const next = await until(async () => {
        const now = await shown(c.control.controlEndpoint, ca);
        return now.serial !== first.serial && now;
    }, 45000);
    assert.ok(next.endsMs > first.endsMs);
    assert.equal((await c.get(account('acct'))).status, 200);
    assert.deepEqual(readFileSync(c.control.caFile), ca, 'by the same authority');
    await until(() => /its certificate was made anew/.test(c.gateway.stderr()));
});

test("one's own certificates are read again at SIGHUP, on both planes, and bad ones change nothing", async (t) => {
    const folder = tempFolder();
    const one = makeCertificate(folder, 'one'), two = makeCertificate(folder, 'two');
    const cert = path.join(folder, 'now.pem'), key = path.join(folder, 'now.key');
    const put = (name) => {
        copyFileSync(path.join(folder, `${name}.pem`), cert);
        copyFileSync(path.join(folder, `${name}.key`), key);
    };
    put('one');
    const sim = await spawnSimulator(t, '--profile', 'instant');
    const gateway = await spawnGateway(t, {
        resources: resourceSet([sim.url]), folder: tempFolder(),
        args: ['--control-listen', '127.0.0.1:0', '--control-cert', cert, '--control-key', key, '--tls-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key],
    });
    const control = JSON.parse(readFileSync(path.join(gateway.folder, 'data/operator.json'))).controlEndpoint;
    const both = async () => [(await shown(control, [one.cert, two.cert])).name, (await shown(gateway.tlsUrl, [one.cert, two.cert])).name];
    assert.deepEqual(await both(), ['one', 'one']);
    const standing = tls.connect({ host: '127.0.0.1', port: Number(new URL(gateway.tlsUrl).port), servername: 'localhost', ca: one.cert });
    await once(standing, 'secureConnect');
    const reload = async () => {
        const said = () => gateway.stderr().match(/configuration (not )?reloaded/g) ?? [];
        const n = said().length;
        gateway.signal('SIGHUP');
        await until(() => said().length > n);
        return said().at(-1) === 'configuration reloaded';
    };
    put('two');
    assert.equal(await reload(), true);
    assert.deepEqual(await both(), ['two', 'two']);
    writeFileSync(key, readFileSync(path.join(folder, 'one.key')));
    assert.equal(await reload(), false);
    writeFileSync(cert, 'no certificate');
    assert.equal(await reload(), false);
    assert.match(gateway.stderr(), /not reloaded.*now\.(pem|key)/);
    assert.deepEqual(await both(), ['two', 'two']);
    standing.write('GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n');
    const [answer] = await once(standing, 'data');
    assert.match(String(answer), /^HTTP\/1\.1 4\d\d/);
    standing.destroy();
});

test('what backends trust is read again at SIGHUP, also in a stream of changes, of which none is lost', { timeout: 120000 }, async (t) => {
    const folder = tempFolder();
    const one = makeCertificate(folder, 'one'), own = path.join(folder, 'authorities.pem');
    makeCertificate(folder, 'two');
    const trust = (name) => copyFileSync(path.join(folder, `${name}.pem`), own);
    const server = https.createServer(one, (q, a) => q.resume().on('end', () => a.setHeader('content-type', 'application/json').end(
        '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}')));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => (server.closeAllConnections(), server.close()));
    trust('one');
    const resources = operatorsResources(`https://localhost:${server.address().port}`);
    resources.at(-1).properties.caFile = own;
    const c = await spawnWithAccount(t, { resources, loops: 2 });
    const deployed = (name) => `${account('acct')}/deployments/${name}`;
    assert.equal((await c.put(deployed('d'), deploymentBody(50))).status, 201);
    const call = async () => (await callWith(c, { 'api-key': c.key })).status;
    assert.equal(await call(), 200);
    let isOver = false, size = 50, nChanges = 0;
    const writer = (async () => {
        for (; !isOver; nChanges++) {
            const a = await c.put(deployed('e'), deploymentBody((size = 150 - size)));
            assert.ok(a.status === 200 || a.status === 201, a.body);
        }
    })();
    const reload = async () => {
        const said = () => (c.gateway.stderr().match(/configuration reloaded/g) ?? []).length;
        const n = said();
        c.gateway.signal('SIGHUP');
        await until(() => said() > n);
    };
    for (let i = 0; i < 3; i++) {
        trust('two');
        await reload();
        await until(async () => (await call()) === 502);
        trust('one');
        await reload();
        await until(async () => (await call()) === 200); // the breaker may have opened
    }
    isOver = true;
    await writer;
    assert.ok(nChanges > 3, `${nChanges}`);
    assert.equal((await c.get(deployed('e'))).json().sku.capacity, size);
    assert.equal((await c.gateway.debug('e')).capacity, size);
});

const keyIdOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;
const published = async (c) => (await ask({ control: c.control }, 'GET', '/adfs/discovery/keys')).json().keys.map((k) => k.kid);

test('the key of tokens is replaced on demand; tokens by the one before it stay good, over a restart too', async (t) => {
    const folder = tempFolder();
    // The address is the audience of tokens, so the second one needs it too: a port that nobody else is given meanwhile.
    const args = ['--control-listen', `127.0.0.1:${await freePort()}`];
    const first = await spawnWithAccount(t, { folder, args });
    const c = { ...first };
    assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
    const before = c.token;
    assert.deepEqual(await published(c), [keyIdOf(before)]);
    const done = await runWeir(['principal', 'rotate-keys', '--data-dir', c.dataDir]);
    assert.equal(done.code, 0, done.stderr);
    const token = await tokenOf(c.control);
    assert.notEqual(keyIdOf(token), keyIdOf(before));
    assert.ok(done.stdout.includes(keyIdOf(token)), done.stdout);
    assert.deepEqual(await published(c), [keyIdOf(token), keyIdOf(before)]);
    for (const t1 of [before, token]) {
        assert.equal((await ask({ ...c, token: t1 }, 'GET', account('acct') + v)).status, 200);
        assert.equal((await callWith(c, { authorization: `Bearer ${t1}` })).status, 200);
    }
    assert.equal(statSync(path.join(c.dataDir, 'token-keys.json')).mode & 0o077, 0);
    // Only an operator may, and not without end.
    const made = JSON.parse((await runWeir(['principal', 'create', 'app', '--json', '--data-dir', c.dataDir])).stdout);
    const other = await tokenOf(c.control, made.appId, made.password);
    assert.equal((await ask({ ...c, token: other }, 'POST', `/providers/Weir.Capacity/tokenKeys/rotate${v}`)).status, 403);
    assert.equal((await ask(c, 'GET', `/providers/Weir.Capacity/tokenKeys/rotate${v}`)).status, 405);
    const all = await Promise.all(Array.from({ length: 4 }, () => ask(c, 'POST', `/providers/Weir.Capacity/tokenKeys/rotate${v}`)));
    for (const a of all) assert.equal(a.status, 200, a.body);
    let last;
    for (let i = 0; i < 9 && last?.status !== 409; i++) last = await ask(c, 'POST', `/providers/Weir.Capacity/tokenKeys/rotate${v}`);
    assert.equal(last.status, 409, last.body);
    assert.equal((await ask({ ...c, token: before }, 'GET', account('acct') + v)).status, 200);
    const nPublished = (await published(c)).length;

    c.gateway.signal('SIGKILL');
    await c.gateway.ended;
    const again = await spawnControl(t, { folder, args });
    assert.equal((await published(again)).length, nPublished);
    assert.equal((await ask({ ...again, token: before }, 'GET', account('acct') + v)).status, 200);
});

test('the key of tokens is replaced by its age', { timeout: 60000 }, async (t) => {
    const c = await spawnWithAccount(t, { args: ['--token-key-age', '2s'] });
    const before = keyIdOf(c.token);
    await until(async () => keyIdOf(await tokenOf(c.control)) !== before, 30000);
    assert.equal((await c.get(account('acct'))).status, 200, 'the token before it');
    await until(() => /another key signs tokens now/.test(c.gateway.stderr()));
});

test('a log is opened anew and resources stay the control plane\'s at signals', async (t) => {
    const c = await spawnWithAccount(t);
    assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
    writeFileSync(path.join(c.gateway.folder, 'resources.json'), 'no JSON at all');
    c.gateway.signal('SIGHUP');
    await until(() => /configuration reloaded: .*`weir apply`/.test(c.gateway.stderr()));
    assert.equal((await callWith(c, { 'api-key': c.key })).status, 200);
    writeFileSync(c.gateway.logFile, '');
    c.gateway.signal('SIGUSR1');
    assert.equal((await callWith(c, { 'api-key': c.key })).status, 200);
    await until(() => readLines(c.gateway.logFile).length > 0);
    assert.equal((await c.get(`/subscriptions/${subscription}`)).status, 200);
});
