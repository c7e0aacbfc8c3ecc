// issuers.test.mjs - tokens of an outside issuer: believed as long as they are its own, for us, and in time.
import assert from 'node:assert/strict';
import { createHmac, createHash, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { account, ask, callWith, deploymentBody, makeCertificate, spawnControl, spawnWithAccount, subscription, v } from './control_support.mjs';
import { freePort, spawnGateway, tempFolder, until as waitFor } from './support.mjs';

// A busy machine takes its time.
const until = (fn, ms = 30000) => waitFor(fn, ms);

const audience = 'api://weir';
const newKey = (kid) => ({ kid, ...generateKeyPairSync('rsa', { modulusLength: 2048 }) });
const newCurveKey = (kid, namedCurve = 'P-256') => ({ kid, ...generateKeyPairSync('ec', { namedCurve }) });
const encode = (o) => Buffer.from(typeof o === 'string' ? o : JSON.stringify(o)).toString('base64url');

// A small issuer on https. `published` are the keys that it tells of; `answer` may be replaced to misbehave.
class Issuer {
    constructor(folder, path = '/tenant') {
        this.tls = makeCertificate(folder, 'issuer');
        this.path = path;
        this.asked = [];
        this.answer = null;
        this.published = this.signs = null;
        this.turn(newKey('first'));
    }

    turn(key, ...alsoPublished) {
        this.signs = key;
        this.published = [key, ...alsoPublished];
    }

    async listen(port) {
        port ??= await freePort(); // and nobody else gets it while it is away
        this.server = https.createServer(this.tls, (q, a) => {
            this.asked.push(q.url);
            if (this.answer?.(q, a)) return;
            const body = q.url.endsWith('/.well-known/openid-configuration') ? { issuer: this.name, jwks_uri: `${this.name}/keys?all` }
                : q.url.startsWith(`${this.path}/keys`) ? { keys: this.published.map(({ kid, publicKey }) => ({ kid, use: 'sig', ...publicKey.export({ format: 'jwk' }) })) }
                    : null;
            a.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        });
        await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
        this.port = this.server.address().port;
        this.name = `https://localhost:${this.port}${this.path}`;
    }

    async close() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }

    claims(more = {}) {
        const now = Math.floor(Date.now() / 1000);
        return { iss: this.name, aud: audience, sub: 'ann', iat: now, nbf: now, exp: now + 600, ...more };
    }

    token(more = {}, { key = this.signs, header = {} } = {}) {
        const alg = key.privateKey.asymmetricKeyType === 'ec' ? 'ES256' : 'RS256';
        const text = `${encode({ alg, typ: 'JWT', kid: key.kid, ...header })}.${encode(this.claims(more))}`;
        return `${text}.${sign('sha256', Buffer.from(text), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
    }
}

const guid = '0f8fad5b-d9cb-469f-a165-70867728950e';
const reader = 'acdd72a7-3385-48ef-bd42-f606fba81ae7', openAiUser = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd';
let nAssigned = 0;
async function assign(c, principalId, role, scope = `/subscriptions/${subscription}`) {
    const name = `7b0f0c1e-9f33-4c1d-8d5e-${String(++nAssigned).padStart(12, '0')}`;
    const a = await ask(c, 'PUT', `${scope}/providers/Microsoft.Authorization/roleAssignments/${name}?api-version=2022-04-01`, {
        properties: { roleDefinitionId: `/providers/Microsoft.Authorization/roleDefinitions/${role}`, principalId },
    });
    assert.equal(a.status, 201, a.body);
}

// The object id that stands for a subject that is no GUID: docs/operating.md.
function objectIdOf(issuer, subject) {
    const h = createHash('sha256').update(`${issuer}\n${subject}`).digest();
    h[6] = (h[6] & 0x0f) | 0x80;
    h[8] = (h[8] & 0x3f) | 0x80;
    const x = h.toString('hex');
    return [x.slice(0, 8), x.slice(8, 12), x.slice(12, 16), x.slice(16, 20), x.slice(20, 32)].join('-');
}

const setting = (issuer, more = '') => ['--oidc-issuer', `${issuer.name} audience=${audience} audience=spare ca=${issuer.tls.file}${more}`];
const manage = (c, token) => ask({ ...c, token }, 'GET', account('acct') + v);
const call = async (c, token) => (await callWith(c, { authorization: `Bearer ${token}` })).status;

describe('an outside issuer', () => {
    let c, issuer;
    before(async () => {
        issuer = new Issuer(tempFolder());
        await issuer.listen();
        c = await spawnWithAccount(null, { loops: 2, args: setting(issuer) });
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
        await assign(c, guid, reader);
        await assign(c, guid, openAiUser);
    });
    after(async () => {
        await issuer.close();
        await c.gateway.stop();
        await c.sim.stop();
    });

    test('speaks for its principals on both planes, as far as roles go', async () => {
        const token = issuer.token({ oid: guid, sub: 'not looked at', name: 'Ann' });
        await until(async () => (await call(c, token)) === 200);
        assert.equal((await manage(c, token)).status, 200);
        assert.equal((await manage(c, issuer.token({ sub: guid.toUpperCase(), aud: ['other', 'spare'] }))).status, 200);
        assert.equal((await ask({ ...c, token }, 'PUT', `${account('acct')}/deployments/e${v}`, deploymentBody(50))).status, 403);
        assert.equal((await ask({ ...c, token }, 'GET', `/providers/Weir.Capacity/principals${v}`)).status, 403);
        assert.equal((await ask({ ...c, token }, 'POST', `/providers/Weir.Capacity/tokenKeys/rotate${v}`)).status, 403);
    });

    test('names subjects that are no GUID too, and the refusal tells what to assign a role to', async () => {
        const token = issuer.token({ sub: 'auth0|Ann' });
        const id = objectIdOf(issuer.name, 'auth0|Ann');
        const refused = await manage(c, token);
        assert.equal(refused.status, 403);
        assert.ok(refused.json().error.message.includes(id), refused.body);
        assert.equal(await call(c, token), 403);
        await assign(c, id, openAiUser);
        assert.equal(await call(c, token), 200);
        assert.equal((await manage(c, token)).status, 200);
        assert.equal((await manage(c, issuer.token({ sub: 'auth0|ann' }))).status, 403, 'case matters');
    });

    test('cannot speak for a principal of ours, not even for the operator', async () => {
        const principals = (await ask(c, 'GET', `/providers/Weir.Capacity/principals${v}`)).json().value;
        const { objectId, appId } = principals.find((p) => p.properties.isOperator).properties;
        for (const oid of [objectId, objectId.toUpperCase()]) {
            const token = issuer.token({ oid, appid: appId });
            assert.equal((await manage(c, token)).status, 401);
            assert.equal(await call(c, token), 401);
        }
        // Nor by the id of its application, which only counts in tokens of our own.
        const token = issuer.token({ sub: 'somebody', appid: appId });
        assert.equal((await ask({ ...c, token }, 'GET', `/providers/Weir.Capacity/principals${v}`)).status, 403);
        assert.equal((await manage(c, token)).status, 403);
    });

    test('inherits nothing from a principal of ours that was deleted', async () => {
        const path = `/providers/Weir.Capacity/principals/leaver${v}`;
        const oid = (await ask(c, 'PUT', path, {})).json().properties.objectId;
        await assign(c, oid, reader);
        await assign(c, oid, openAiUser);
        const token = issuer.token({ oid });
        assert.equal((await manage(c, token)).status, 401);
        assert.equal(await call(c, token), 401);
        assert.equal((await ask(c, 'DELETE', path)).status, 200);
        assert.equal((await manage(c, token)).status, 403);
        assert.equal(await call(c, token), 403);
        const list = await ask(c, 'GET', `/subscriptions/${subscription}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01`);
        const holders = list.json().value.map((a) => a.properties.principalId);
        assert.ok(holders.includes(guid) && !holders.includes(oid), list.body);
    });

    test('is not believed beyond its key, its audience and its time', async () => {
        const now = Math.floor(Date.now() / 1000);
        const who = { oid: guid };
        const [head, body, signature] = issuer.token(who).split('.');
        const pem = issuer.signs.publicKey.export({ type: 'spki', format: 'pem' });
        const hmac = (secret, header) => {
            const text = `${encode({ alg: 'HS256', typ: 'JWT', kid: issuer.signs.kid, ...header })}.${body}`;
            return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
        };
        const stranger = newKey('first');
        const bad = {
            'of another key under its id': issuer.token(who, { key: stranger }),
            'of another key that the token brings along': issuer.token(who, { key: stranger, header: { jwk: stranger.publicKey.export({ format: 'jwk' }) } }),
            'of another key that the token points at': issuer.token(who, { key: stranger, header: { jku: `${issuer.name}/keys`, x5u: issuer.name } }),
            'unsigned': `${encode({ alg: 'none', typ: 'JWT', kid: issuer.signs.kid })}.${body}.`,
            'unsigned in other letters': `${encode({ alg: 'NoNe', kid: issuer.signs.kid })}.${body}.`,
            'unsigned, with a signature': `${encode({ alg: 'none' })}.${body}.${signature}`,
            'signed with its public key as a secret': hmac(pem),
            'signed with its public key as a secret, trimmed': hmac(pem.trim()),
            'HS256 with the signature of RS256': `${encode({ alg: 'HS256', kid: issuer.signs.kid })}.${body}.${signature}`,
            'for somebody else': issuer.token({ ...who, aud: 'api://other' }),
            'for nobody': issuer.token({ ...who, aud: [] }),
            'for our own audience, which is none of its own': issuer.token({ ...who, aud: 'https://management.azure.com' }),
            'expired': issuer.token({ ...who, iat: now - 4000, nbf: now - 4000, exp: now - 400 }),
            'not good yet': issuer.token({ ...who, nbf: now + 1000 }),
            'of another issuer': issuer.token({ ...who, iss: 'https://login.example' }),
            'of its issuer with a slash more': issuer.token({ ...who, iss: `${issuer.name}/` }),
            'of our own service': issuer.token({ ...who, iss: `${c.control.controlEndpoint}/adfs`, aud: c.control.controlEndpoint }),
            'about nobody': issuer.token({ sub: undefined }),
            'cut short': `${head}.${body}`,
            'with a claim too many bytes': issuer.token({ ...who, oid: 'x'.repeat(300) }),
            'with claims of another type': issuer.token({ oid: { id: guid } }),
            'of more bytes than a token has': issuer.token({ ...who, padding: 'x'.repeat(20000) }),
            'with a key id that is a path': issuer.token(who, { header: { kid: '../../../../dev/null' } }),
            'with a key id that is no text': issuer.token(who, { header: { kid: ['first'] } }),
            'with a key id that is SQL': issuer.token(who, { header: { kid: "first' OR '1'='1" } }),
            'with a key id of many bytes': issuer.token(who, { header: { kid: 'k'.repeat(5000) } }),
            'with an extension that must be understood': issuer.token(who, { header: { crit: ['b64'], b64: false } }),
        };
        for (const [what, token] of Object.entries(bad)) {
            const a = await manage(c, token);
            assert.equal(a.status, 401, `${what}: ${a.body}`);
            assert.match(a.json().error.code, /^(Invalid|Expired)AuthenticationToken$/);
            assert.equal(await call(c, token), 401, what);
        }
        assert.equal((await manage(c, issuer.token(who))).status, 200);
        assert.equal(await call(c, issuer.token(who)), 200);
    });

    test('is asked for its keys once a minute at most, however many unknown ones are named', async () => {
        const n = issuer.asked.length;
        await Promise.all(Array.from({ length: 40 }, (_, i) => manage(c, issuer.token({ oid: guid }, { header: { kid: `k${i}` } }))));
        await Promise.all(Array.from({ length: 40 }, (_, i) => call(c, issuer.token({ oid: guid }, { header: { kid: `k${i}` } }))));
        assert.ok(issuer.asked.length <= n + 2, `${issuer.asked.length - n} requests`);
        assert.equal((await manage(c, issuer.token({ oid: guid }))).status, 200);
    });

    // It has not been asked for an unknown key before, and does not answer now.
    test('lets 64 requests wait for its keys, and refuses more at once', async (t) => {
        const { c: own, issuer: slow } = await spawnWithIssuer(t);
        await until(async () => (await manage(own, slow.token({ oid: guid }))).status === 200);
        const held = [];
        let nRefused = 0, isGivenUp = false;
        const begun = performance.now();
        slow.answer = (q, a) => held.push(a.on('close', () => { isGivenUp = true; }));
        const all = Array.from({ length: 100 }, (_, i) => manage(own, slow.token({ oid: guid }, { header: { kid: `k${i}` } }))
            .then((a) => { nRefused += a.status === 401; }));
        await until(() => nRefused >= 36);
        // Else the machine took longer than the fetch may, which is 10 s; what it refused then may be read before its close.
        if (!isGivenUp && performance.now() - begun < 9000) assert.equal(nRefused, 36);
        slow.answer = null;
        held.forEach((a) => a.destroy());
        await Promise.all(all);
        assert.equal(nRefused, 100);
    });
});

// A control plane with one issuer of its own.
async function spawnWithIssuer(t, { issuer = new Issuer(tempFolder()), more, ...rest } = {}) {
    if (!issuer.server) await issuer.listen();
    t.after(() => issuer.close().catch(() => {}));
    const c = await spawnWithAccount(t, { args: setting(issuer, more), ...rest });
    await assign(c, guid, reader);
    return { c, issuer };
}

describe('its keys', () => {
    test('turn over under a running server, and the first token by a new one is believed', async (t) => {
        const { c, issuer } = await spawnWithIssuer(t);
        const old = issuer.signs, oldToken = issuer.token({ oid: guid });
        await until(async () => (await manage(c, oldToken)).status === 200);
        const next = newKey('second');
        issuer.turn(next, old);
        const nAsked = issuer.asked.length;
        assert.equal((await manage(c, issuer.token({ oid: guid }))).status, 200);
        assert.deepEqual(issuer.asked.slice(nAsked), ['/tenant/.well-known/openid-configuration', '/tenant/keys?all']);
        assert.equal((await manage(c, oldToken)).status, 200, 'it is still published');
        // What it takes back is forgotten with its next answer; SIGHUP asks for one.
        issuer.turn(next);
        c.gateway.signal('SIGHUP');
        await until(async () => (await manage(c, oldToken)).status === 401);
        assert.equal((await manage(c, issuer.token({ oid: guid }))).status, 200);
    });

    test('may be of RSA and of P-256, each for its own algorithm', async (t) => {
        const { c, issuer } = await spawnWithIssuer(t);
        const rsa = issuer.signs, curve = newCurveKey('curve'), other = newCurveKey('other'), long = newCurveKey('long', 'P-384');
        issuer.turn(curve, rsa, long);
        const token = issuer.token({ oid: guid });
        await until(async () => (await manage(c, token)).status === 200);
        await assign(c, guid, openAiUser);
        assert.equal((await c.put(`${account('acct')}/deployments/d`, deploymentBody(50))).status, 201);
        await until(async () => (await call(c, token)) === 200);
        assert.equal((await manage(c, issuer.token({ oid: guid }, { key: rsa }))).status, 200);
        const [head, body, signature] = token.split('.');
        const bad = {
            'of another key': issuer.token({ oid: guid }, { key: { ...other, kid: 'curve' } }),
            'of a curve that is not understood': issuer.token({ oid: guid }, { key: long }),
            'with ES256 and the RSA key': issuer.token({ oid: guid }, { header: { kid: rsa.kid } }),
            'with RS256 and the key on the curve': issuer.token({ oid: guid }, { key: rsa, header: { kid: 'curve' } }),
            'with RS256 said of a signature by ES256': `${encode({ alg: 'RS256', kid: 'curve' })}.${body}.${signature}`,
            'with other claims': `${head}.${encode(issuer.claims({ oid: guid, name: 'x' }))}.${signature}`,
            'without half of the signature': `${head}.${body}.${signature.slice(0, 43)}`,
            'with a signature of zeroes': `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`,
        };
        for (const [name, text] of Object.entries(bad)) {
            assert.equal((await manage(c, text)).status, 401, name);
            assert.equal(await call(c, text), 401, name);
        }
    });

    test('are kept while it cannot be reached or answers nonsense', async (t) => {
        const { c, issuer } = await spawnWithIssuer(t);
        const token = issuer.token({ oid: guid });
        await until(async () => (await manage(c, token)).status === 200);
        const nonsense = [
            (q, a) => a.writeHead(500).end('{}'),
            (q, a) => a.writeHead(302, { location: 'https://localhost:1/' }).end(),
            (q, a) => a.writeHead(200).end('<html>'),
            (q, a) => a.writeHead(200).end('{"keys":[]}'),
            (q, a) => a.writeHead(200).end(JSON.stringify({ issuer: 'https://other', jwks_uri: `${issuer.name}/keys` })),
            (q, a) => a.writeHead(200).end(`{"x":"${'x'.repeat(1 << 20)}"}`),
            (q, a) => a.destroy(),
        ];
        for (const answer of nonsense) {
            const n = issuer.asked.length;
            issuer.answer = (...args) => (answer(...args), true);
            c.gateway.signal('SIGHUP');
            await until(() => issuer.asked.length > n);
            assert.equal((await manage(c, token)).status, 200);
        }
        await issuer.close();
        const stranger = newKey('third');
        assert.equal((await manage(c, issuer.token({ oid: guid }, { key: stranger }))).status, 401);
        assert.equal((await manage(c, token)).status, 200);
        await until(() => /issuer https:\S+ .*the keys that are known stay/.test(c.gateway.stderr()));
        issuer.answer = null;
        issuer.turn(stranger);
        await issuer.listen(issuer.port);
        c.gateway.signal('SIGHUP');
        await until(async () => (await manage(c, issuer.token({ oid: guid }))).status === 200, 30000);
    });

    test('are kept over a restart while it is away', async (t) => {
        const folder = tempFolder();
        const { c, issuer } = await spawnWithIssuer(t, { folder });
        const token = issuer.token({ oid: guid });
        await until(async () => (await manage(c, token)).status === 200);
        const kept = await until(() => readdirSync(c.dataDir).find((name) => /^issuer-[0-9a-f]{16}\.json$/.test(name)));
        await issuer.close();
        const restart = async (before, args = setting(issuer)) => {
            await before.gateway.stop();
            return { ...before, ...await spawnControl(t, { folder, args }) };
        };
        const second = await restart(c);
        assert.equal((await manage(second, token)).status, 200);
        assert.equal((await manage(second, issuer.token({ oid: guid }, { key: newKey('first') }))).status, 401);
        // Not for what is now fetched from elsewhere.
        const third = await restart(second, setting(issuer, ` jwks=${issuer.name}/elsewhere`));
        assert.equal((await manage(third, token)).status, 401);
        // Nor after a day, whether it ends while the process runs or before.
        const file = path.join(c.dataDir, kept), text = readFileSync(file, 'utf8'), day = 24 * 3600 * 1000;
        const fetchedAt = (ms) => writeFileSync(file, JSON.stringify({ ...JSON.parse(text), fetchedMs: ms }));
        const believesNoLonger = async (s) => {
            await until(() => /issuer https:\S+ its keys were last fetched more than 24 hours ago/.test(s.gateway.stderr()));
            await until(async () => (await manage(s, token)).status === 401);
        };
        let last = third;
        for (const ms of [Date.now() - day, Date.now() - day + 5000]) {
            fetchedAt(ms);
            last = await restart(last);
            await believesNoLonger(last);
        }
        for (const bad of ['{"keys": [', '{}', JSON.stringify({ ...JSON.parse(text), fetchedMs: Date.now() + day })]) {
            writeFileSync(file, bad);
            last = await restart(last);
            assert.equal((await manage(last, token)).status, 401, bad);
        }
        writeFileSync(file, text);
        last = await restart(last);
        assert.equal((await manage(last, token)).status, 200);
    });

    test('may come later than the server', async (t) => {
        const issuer = new Issuer(tempFolder());
        await issuer.listen();
        await issuer.close();
        const c = await spawnWithAccount(t, { args: setting(issuer) });
        await assign(c, guid, reader);
        await until(() => /issuer https:\S+ .*none of its tokens is believed/.test(c.gateway.stderr()));
        assert.equal((await manage(c, issuer.token({ oid: guid }))).status, 401);
        await issuer.listen(issuer.port);
        t.after(() => issuer.close());
        await until(async () => (await manage(c, issuer.token({ oid: guid }))).status === 200, 30000);
    });

    test('are fetched from where the setting says, and from nobody whose certificate is not trusted', async (t) => {
        const issuer = new Issuer(tempFolder());
        await issuer.listen();
        const { c } = await spawnWithIssuer(t, { issuer, more: ` jwks=${issuer.name}/keys/here` });
        await until(async () => (await manage(c, issuer.token({ oid: guid }))).status === 200);
        assert.deepEqual([...new Set(issuer.asked)], ['/tenant/keys/here']);

        const impostor = new Issuer(tempFolder());
        await impostor.listen();
        const args = ['--oidc-issuer', `${impostor.name} audience=${audience} ca=${issuer.tls.file}`];
        const other = await spawnWithAccount(t, { args });
        t.after(() => impostor.close());
        await until(() => /issuer https:\S+ .*certificate/.test(other.gateway.stderr()));
        assert.equal((await manage(other, impostor.token({ oid: guid }))).status, 401);
        assert.deepEqual(impostor.asked, []);
    });
});

test('of two issuers, one whose ids are its own cannot speak for a principal of the other', async (t) => {
    const one = new Issuer(tempFolder()), other = new Issuer(tempFolder(), '/other');
    for (const i of [one, other]) {
        await i.listen();
        t.after(() => i.close());
    }
    const c = await spawnWithAccount(t, { args: [...setting(one, ' ids=guid'), ...setting(other, ' ids=own')] });
    await assign(c, guid, reader);
    await until(async () => (await manage(c, one.token({ oid: guid }))).status === 200);
    await until(async () => (await manage(c, other.token({ oid: guid }))).status === 403);
    const id = objectIdOf(other.name, guid);
    assert.ok((await manage(c, other.token({ oid: guid }))).json().error.message.includes(id));
    await assign(c, id, reader);
    assert.equal((await manage(c, other.token({ oid: guid }))).status, 200);
    assert.equal((await manage(c, other.token({ oid: id }))).status, 403);
    assert.equal((await manage(c, one.token({ oid: id }))).status, 200, 'that one is trusted with all GUIDs');
});

test('a setting that cannot be meant is told at start', async (t) => {
    for (const [text, says] of [['https://a.example', /audience/], ['http://a.example audience=x', /https/], ['https://a.example audience=x ca=/none.pem', /none\.pem/],
        ['https://a.example audience=x,https://a.example audience=y', /twice/],
        ['https://a.example audience=x ids=own,https://b.example audience=y', /https:\/\/b\.example says neither/]]) {
        const gateway = await spawnGateway(t, {
            resources: [], mayFail: true, args: ['--control-listen', '127.0.0.1:0', '--oidc-issuer', text],
        });
        assert.equal((await gateway.ended).code, 1);
        assert.match(gateway.stderr(), says);
    }
});
