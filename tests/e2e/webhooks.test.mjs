// webhooks.test.mjs - where a tenant's webhook may lead the server, and where it may not.
import assert from 'node:assert/strict';
import https from 'node:https';
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { ask, makeCertificate, spawnWithAccount, subscription, v } from './control_support.mjs';
import { tempFolder, until as waitFor } from './support.mjs';

// A busy machine takes its time.
const until = (fn, ms = 30000) => waitFor(fn, ms);

const place = `/subscriptions/${subscription}/providers/Weir.Capacity/quotaRequests`;

// Asks for quota with a webhook, and has it refused, which is to be told there; what asking was answered with.
async function decideWith(c, webhook) {
    const made = await ask(c, 'POST', place + v, { properties: { location: 'eastus', quotaName: 'OpenAI.ProvisionedManaged', limit: 800, webhook } });
    if (made.status === 201) assert.equal((await ask(c, 'POST', `${made.json().id}/refuse${v}`)).status, 200);
    return made;
}

test('no address that is not public is gone to, however it is spelled, unless the operator allows the host', { timeout: 60000 }, async (t) => {
    let nCame = 0;
    const server = net.createServer((s) => (nCame++, s.destroy()));
    await new Promise((resolve) => server.listen(0, '::', resolve));
    t.after(() => server.close());
    const { port } = server.address();
    const c = await spawnWithAccount(t, { args: ['--webhook-hosts', '*.localhost.example,hooks.example'] });
    const hosts = ['127.0.0.1', 'localhost', 'LocalHost', 'a.localhost', '[::1]', '[::ffff:127.0.0.1]', '127.1', '2130706433', '0x7f.0.0.1', '0.0.0.0',
        '[::]', '10.0.0.1', '169.254.169.254'];
    for (const host of hosts) {
        const made = await decideWith(c, `https://${host}:${port}/x?${host.replace(/\W/g, '')}`);
        assert.equal(made.status, 400, made.body);
        assert.match(made.json().error.message, /webhook.*(is not a public one; the operator can allow it|host)/);
        assert.equal(made.json().error.target, 'properties.webhook');
    }
    assert.deepEqual((await ask(c, 'GET', place + v)).json().value, [], 'nothing is stored of what was refused');
    // A name says nothing about its addresses: they are looked at when it is gone to.
    const own = await lookup(hostname()).catch(() => null);
    if (own && /^(127|10|192\.168|172\.(1[6-9]|2\d|3[01]))\./.test(own.address)) {
        assert.equal((await decideWith(c, `https://${hostname()}:${port}/x`)).status, 201);
        await until(() => /was not told: the address is not a public one/.test(c.gateway.stderr())).catch(() => assert.fail(c.gateway.stderr()));
    }
    assert.equal(nCame, 0);
    for (const url of [`http://127.0.0.1:${port}/`, 'file:///etc/passwd', `https://user:word@127.0.0.1:${port}/`, 'https://', 'https:///x', `https://a b:${port}/`, `https://x:${port}/#f`])
        assert.equal((await decideWith(c, url)).status, 400, url);
});

test('no redirect is followed', { timeout: 60000 }, async (t) => {
    const tls = makeCertificate(tempFolder(), 'hook');
    const asked = { first: [], second: [] };
    const listen = async (name, answer) => {
        const server = https.createServer(tls, (q, a) => {
            asked[name].push(q.url);
            q.resume();
            answer(a);
        });
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => (server.closeAllConnections(), server.close()));
        return server.address().port;
    };
    const second = await listen('second', (a) => a.end());
    const first = await listen('first', (a) => a.writeHead(asked.first.length === 1 ? 307 : 301, { location: `https://localhost:${second}/internal` }).end());
    const c = await spawnWithAccount(t, { env: { SSL_CERT_FILE: tls.file }, args: ['--webhook-hosts', 'localhost'] });
    assert.equal((await decideWith(c, `https://localhost:${first}/told`)).status, 201);
    await until(() => asked.first.length >= 2, 30000); // it counts as not told, and is tried again
    assert.deepEqual(asked.second, []);
    assert.deepEqual([...new Set(asked.first)], ['/told']);
});
