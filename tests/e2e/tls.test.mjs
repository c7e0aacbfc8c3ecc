// tls.test.mjs - TLS on both sides: the https listener for clients, and https backends verified by chain and name.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import {
    apiKey, answerBytes, chatCall, chatTarget, completionOf, fakeBackend, rawConnection, rawExchange, requestBytes, resourceSet,
    runWeir, spawnGateway, spawnSimulator, tempFolder, until, usageOf,
} from './support.mjs';

// Makes a certificate authority and certificates of it (or of nobody) by openssl.
function makeCertificates(folder) {
    const run = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const authority = (name) => run('req', '-x509', ...key, '-days', '2', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`);
    const certificate = (name, names, ca = 'ca') => {
        run('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
        writeFileSync(path.join(folder, `${name}.ext`), `subjectAltName=${names}\n`);
        run('x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2',
            '-extfile', `${name}.ext`, '-out', `${name}.pem`);
    };
    authority('ca');
    authority('stranger');
    certificate('local', 'DNS:localhost,IP:127.0.0.1');
    certificate('elsewhere', 'DNS:elsewhere.example');
    certificate('untrusted', 'DNS:localhost,IP:127.0.0.1', 'stranger');
    return (name) => path.join(folder, name);
}

let file;
before(() => (file = makeCertificates(tempFolder())));

const good = { messages: [{ role: 'user', content: '[[echo:behind a lock]]' }], max_tokens: 10 };

describe('the https listener', () => {
    let sim, gateway, ca;
    before(async () => {
        sim = await spawnSimulator(null, '--profile', 'instant');
        gateway = await spawnGateway(null, {
            resources: resourceSet([sim.url]),
            args: ['--tls-listen', '127.0.0.1:0', '--tls-cert', file('local.pem'), '--tls-key', file('local.key')],
        });
        ca = readFileSync(file('ca.pem'));
    });
    after(async () => {
        const end = await gateway.stop();
        await sim.stop();
        assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    });

    const connect = (options = {}) =>
        tls.connect({ host: '127.0.0.1', port: Number(new URL(gateway.tlsUrl).port), ca, servername: 'localhost', ...options });

    async function callOver(options, url = gateway.tlsUrl) {
        const socket = connect({ port: Number(new URL(url).port), ...options });
        await once(socket, 'secureConnect');
        const c = rawConnection(gateway.tlsUrl, socket);
        c.write(requestBytes(chatTarget(), good));
        const answer = await c.response();
        const said = { answer, protocol: socket.getProtocol(), alpn: socket.alpnProtocol };
        c.destroy();
        return said;
    }

    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        test(`speaks ${version}`, async () => {
            const { answer, protocol } = await callOver({ minVersion: version, maxVersion: version });
            assert.equal(protocol, version);
            assert.equal(answer.json().choices[0].message.content, 'behind a lock');
        });
    }

    test('does not speak older versions', async () => {
        const socket = connect({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' });
        const [e] = await once(socket, 'error');
        assert.match(e.code, /ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS/);
    });

    // Request and goodbye come in one read, and the answer is complete before the goodbye is seen.
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
        test(`answers over ${version} who says goodbye right behind the request`, async () => {
            for (let i = 0; i < 20; i++) {
                const socket = connect({ minVersion: version, maxVersion: version });
                await once(socket, 'secureConnect');
                const c = rawConnection(gateway.tlsUrl, socket);
                socket.end('GET /nothing/here HTTP/1.1\r\nhost: localhost\r\n\r\n');
                assert.equal((await c.response()).status, 404);
                c.destroy();
            }
        });
    }

    test('offers http/1.1, and nothing to a client that wants h2 alone', async () => {
        assert.equal((await callOver({ ALPNProtocols: ['h2', 'http/1.1'] })).alpn, 'http/1.1');
        const socket = connect({ ALPNProtocols: ['h2'] });
        const alpn = await Promise.race([once(socket, 'secureConnect').then(() => socket.alpnProtocol), once(socket, 'error').then(() => 'refused')]);
        assert.ok(alpn === false || alpn === 'refused', `${alpn}`);
        socket.destroy();
    });

    test('carries the SDK, streams and large bodies', async () => {
        // The client's trust is set by the environment at its start, so it runs in a process of its own.
        const script = `
            import OpenAI, { AzureOpenAI } from 'openai';
            const text = 'ü🦫'.repeat(20000);
            const messages = [{ role: 'user', content: '[[echo:' + text + ']]' }];
            const azure = new AzureOpenAI({ endpoint: '${gateway.tlsUrl.replace('127.0.0.1', 'localhost')}', apiKey: '${apiKey}', apiVersion: '2024-10-21', maxRetries: 0 });
            const plain = new OpenAI({ baseURL: '${gateway.tlsUrl}/openai/v1', apiKey: '${apiKey}', maxRetries: 0 });
            const whole = await azure.chat.completions.create({ model: 'standard', messages });
            let got = '';
            for await (const c of await plain.chat.completions.create({ model: 'standard', messages: [{ role: 'user', content: '[[echo:streamed ü]]' }], stream: true }))
                got += c.choices[0]?.delta?.content ?? '';
            console.log(JSON.stringify({ got, isWhole: whole.choices[0].message.content === text }));`;
        const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
            cwd: import.meta.dirname, env: { ...process.env, NODE_EXTRA_CA_CERTS: file('ca.pem') }, encoding: 'utf8',
        });
        const { got, isWhole } = JSON.parse(out);
        assert.equal(got, 'streamed ü');
        assert.ok(isWhole);
    });

    test('keeps connections, and answers what is pipelined', async () => {
        const socket = connect();
        await once(socket, 'secureConnect');
        const c = rawConnection(gateway.tlsUrl, socket);
        c.write(Buffer.concat(Array.from({ length: 20 }, () => requestBytes(chatTarget(), good))));
        for (let i = 0; i < 20; i++) assert.equal((await c.response()).status, 200);
        c.destroy();
    });

    test('resumes sessions', async () => {
        let session;
        const first = connect({ maxVersion: 'TLSv1.2' });
        first.on('session', (s) => (session = s));
        await once(first, 'secureConnect');
        await until(() => session);
        first.destroy();
        const second = connect({ maxVersion: 'TLSv1.2', session });
        await once(second, 'secureConnect');
        assert.ok(second.isSessionReused());
        const c = rawConnection(gateway.tlsUrl, second);
        c.write(requestBytes(chatTarget(), good));
        assert.equal((await c.response()).status, 200);
        c.destroy();
    });

    test('survives clients that are no TLS: plain http, garbage, half a hello, resets', async (t) => {
        const brief = await spawnGateway(t, {
            resources: resourceSet([sim.url]),
            args: ['--tls-listen', '127.0.0.1:0', '--tls-cert', file('local.pem'), '--tls-key', file('local.key'),
                '--idle-timeout', '1s', '--head-timeout', '500ms'],
        });
        const hello = await helloBytes();
        for (const bytes of [
            requestBytes(chatTarget(), good), Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(5000, 0xff), Buffer.from([22, 3, 1, 255, 255]),
            Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), Buffer.alloc(508)]),
        ]) {
            const { bytes: came, isClosed } = await rawExchange(brief.tlsUrl, bytes);
            assert.ok(isClosed, 'the connection is ended');
            assert.ok(!came.toString('latin1').startsWith('HTTP/'), came.toString('latin1'));
        }
        for (let i = 0; i < hello.length; i += 23) {
            const socket = net.connect(Number(new URL(brief.tlsUrl).port), '127.0.0.1');
            socket.on('error', () => {});
            await once(socket, 'connect');
            socket.write(hello.subarray(0, i), () => (i % 2 ? socket.resetAndDestroy() : socket.destroy()));
        }
        // One that never goes on is ended by the idle timeout.
        const waiting = net.connect(Number(new URL(brief.tlsUrl).port), '127.0.0.1');
        waiting.on('error', () => {});
        waiting.resume();
        waiting.write(hello.subarray(0, 40));
        let isClosed = false;
        waiting.on('close', () => (isClosed = true));
        await until(() => isClosed);
        await until(async () => (await brief.metric('weir_client_connections')) === 0);
        // More than once: a busy machine may take longer over a handshake or a head than is allowed here.
        await until(async () => (await chatCall(brief, good).catch(() => null))?.status === 200);
        await until(async () => (await callOver({}, brief.tlsUrl).catch(() => null))?.answer?.status === 200);
    });

    test('does not renegotiate', async () => {
        const socket = connect({ maxVersion: 'TLSv1.2' });
        await once(socket, 'secureConnect');
        const e = await new Promise((resolve) => {
            socket.on('error', resolve);
            socket.on('close', () => resolve(new Error('closed')));
            socket.renegotiate({}, (err) => err && resolve(err));
        });
        assert.ok(e instanceof Error);
        socket.destroy();
        assert.equal((await callOver({})).answer.status, 200);
    });

    test('cancels the backend within 100 ms when the client leaves, with and without a goodbye', async (t) => {
        for (const leave of ['destroy', 'end', 'resetAndDestroy']) {
            for (let attempt = 1; ; attempt++) {
                const backend = await fakeBackend(t, () => {});
                const gw = await spawnGateway(t, {
                    resources: resourceSet([backend.url]),
                    args: ['--tls-listen', '127.0.0.1:0', '--tls-cert', file('local.pem'), '--tls-key', file('local.key')],
                });
                const plain = net.connect(Number(new URL(gw.tlsUrl).port), '127.0.0.1');
                const socket = tls.connect({ socket: plain, servername: 'localhost', ca });
                socket.on('error', () => {});
                await once(socket, 'secureConnect');
                socket.write(requestBytes(chatTarget(), good));
                await until(() => backend.requests.length === 1);
                const left = performance.now();
                if (leave === 'resetAndDestroy') plain.resetAndDestroy();
                else socket[leave]();
                await until(() => backend.connections[0].closedAt);
                const took = backend.connections[0].closedAt - left;
                socket.destroy();
                const [line] = await gw.settled(1);
                assert.equal(line.outcome, 'client_gone');
                if (took < 100) break;
                assert.ok(attempt < 10, `${took} ms`);
            }
        }
    });

    async function helloBytes() {
        const server = net.createServer();
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        const came = new Promise((resolve) => server.on('connection', (s) => s.once('data', (d) => {
            s.destroy();
            resolve(d);
        })));
        tls.connect({ port: server.address().port, host: '127.0.0.1' }).on('error', () => {});
        const bytes = await came;
        server.close();
        return bytes;
    }
});

describe('settings of the https listener', () => {
    const serve = (t, args) => {
        const folder = tempFolder();
        writeFileSync(path.join(folder, 'r.json'), JSON.stringify(resourceSet(['http://127.0.0.1:9'])));
        return runWeir(['serve', '--resources', path.join(folder, 'r.json'), '--data-dir', path.join(folder, 'd'), '--listen', 'none',
            '--ops-listen', 'none', '--tls-listen', '127.0.0.1:0', ...args]);
    };

    test('that are missing or wrong are told, by file', async (t) => {
        for (const [args, text] of [
            [[], /tls-listen: needs tls-cert and tls-key/],
            [['--tls-cert', file('local.pem')], /needs tls-cert and tls-key/],
            [['--tls-cert', '/nowhere.pem', '--tls-key', file('local.key')], /nowhere\.pem: cannot use the certificate chain/],
            [['--tls-cert', file('local.pem'), '--tls-key', file('ca.pem')], /ca\.pem: cannot use the private key/],
            [['--tls-cert', file('local.pem'), '--tls-key', file('elsewhere.key')], /elsewhere\.key: .*private key/],
        ]) {
            const { code, stderr } = await serve(t, args);
            assert.equal(code, 1, stderr);
            assert.match(stderr, text);
            assert.ok(!stderr.includes('PRIVATE'));
        }
    });
});

describe('https backends', () => {
    // A model server over TLS; `seen` is what clients said of themselves.
    async function secureBackend(t, name, options = {}) {
        const seen = [];
        const server = https.createServer({ key: readFileSync(file(`${name}.key`)), cert: readFileSync(file(`${name}.pem`)), ...options }, (q, s) => {
            q.resume();
            q.on('end', () => {
                s.setHeader('content-type', 'application/json');
                s.end(JSON.stringify(completionOf('from behind a lock', usageOf(10, 5))));
            });
        });
        server.on('secureConnection', (s) => seen.push({ name: s.servername, protocol: s.getProtocol() }));
        server.on('tlsClientError', (e) => seen.push({ error: e.code ?? e.message }));
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        t.after(() => server.close());
        t.after(() => server.closeAllConnections());
        return { seen, port: server.address().port };
    }

    async function callThrough(t, backends) {
        const gateway = await spawnGateway(t, { resources: resourceSet(backends) });
        const response = await chatCall(gateway, good);
        const body = await response.json();
        const [line] = await gateway.settled(1);
        return { status: response.status, body, line, gateway };
    }

    test('are trusted by their authority and name; the name goes out as SNI', async (t) => {
        const backend = await secureBackend(t, 'local');
        const { status, body, line, gateway } = await callThrough(t, [{ url: `https://localhost:${backend.port}`, caFile: file('ca.pem') }]);
        assert.equal(status, 200);
        assert.equal(body.choices[0].message.content, 'from behind a lock');
        assert.equal(line.chargeMt, 10000 + 15000);
        assert.deepEqual(backend.seen, [{ name: 'localhost', protocol: 'TLSv1.3' }]);
        for (let i = 0; i < 5; i++) assert.equal((await (await chatCall(gateway, good)).json()).usage.prompt_tokens, 10);
        assert.equal(backend.seen.length, 1, 'the connection is kept');
    });

    test('are trusted by address, without SNI, and in TLS 1.2', async (t) => {
        const backend = await secureBackend(t, 'local', { maxVersion: 'TLSv1.2' });
        const { status } = await callThrough(t, [{ url: `https://127.0.0.1:${backend.port}`, caFile: file('ca.pem') }]);
        assert.equal(status, 200);
        assert.deepEqual(backend.seen, [{ name: false, protocol: 'TLSv1.2' }]);
    });

    for (const [what, name, url, ca] of [
        ['of another name', 'elsewhere', 'localhost', 'ca.pem'],
        ['of another name, by address', 'elsewhere', '127.0.0.1', 'ca.pem'],
        ['of another authority', 'untrusted', 'localhost', 'ca.pem'],
        ['of an authority that the system does not know', 'local', 'localhost', null],
    ]) {
        test(`${what} are refused: 502, nothing is sent, nothing is charged`, async (t) => {
            const backend = await secureBackend(t, name);
            const { status, body, line } = await callThrough(t, [{ url: `https://${url}:${backend.port}`, ...(ca ? { caFile: file(ca) } : {}) }]);
            assert.equal(status, 502);
            assert.equal(body.error.code, 'UpstreamFailed');
            assert.match(body.error.message, /TLS: /);
            assert.equal(line.chargeMt, 0);
            assert.deepEqual(backend.seen.filter((s) => !s.error), []);
        });

        test(`${what} are accepted where the operator says so`, async (t) => {
            const backend = await secureBackend(t, name);
            const { status } = await callThrough(t, [{ url: `https://${url}:${backend.port}`, insecureSkipVerify: true }]);
            assert.equal(status, 200);
        });
    }

    test('that turn out to be plain http, or nothing, are refused', async (t) => {
        const plain = await fakeBackend(t, (r) => r.write(answerBytes(completionOf('x', usageOf(1, 1)))));
        const { status, line } = await callThrough(t, [{ url: `https://127.0.0.1:${plain.port}`, insecureSkipVerify: true, connectTimeoutMs: 1000 }]);
        assert.ok(status === 502 || status === 504, `${status}`);
        assert.equal(line.chargeMt, 0);
        const server = net.createServer((s) => {
            s.on('error', () => {});
            s.once('data', () => s.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
        });
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.after(() => server.close());
        const second = await callThrough(t, [{ url: `https://127.0.0.1:${server.address().port}`, insecureSkipVerify: true }]);
        assert.equal(second.status, 502);
        assert.match(second.body.error.message, /TLS/);
    });

    test('asked by plain http are refused by their answer, not by ours', async (t) => {
        const backend = await secureBackend(t, 'local');
        const { status, line } = await callThrough(t, [`http://127.0.0.1:${backend.port}`]);
        assert.ok(status >= 400);
        assert.equal(line.chargeMt, 0);
    });

    test('move to another one when the certificate is wrong', async (t) => {
        const bad = await secureBackend(t, 'untrusted');
        const right = await secureBackend(t, 'local');
        const { status, line } = await callThrough(t, [
            { url: `https://localhost:${bad.port}`, caFile: file('ca.pem') },
            { url: `https://localhost:${right.port}`, caFile: file('ca.pem'), priority: 2 },
        ]);
        assert.equal(status, 200);
        assert.equal(line.retries, 1);
    });

    test('are trusted anew when the file of authorities has another content after SIGHUP', async (t) => {
        const backend = await secureBackend(t, 'local');
        const own = path.join(tempFolder(), 'authorities.pem');
        const trust = (name) => writeFileSync(own, readFileSync(file(name)));
        const resources = resourceSet([{ url: `https://localhost:${backend.port}`, caFile: own }]);
        trust('ca.pem');
        const gateway = await spawnGateway(t, { resources });
        const call = async () => {
            const response = await chatCall(gateway, good);
            await response.arrayBuffer();
            return response.status;
        };
        assert.equal(await call(), 200);
        assert.ok(await gateway.configure(resources));
        assert.equal(await call(), 200);
        assert.equal(backend.seen.length, 1, 'the connection is kept over a reload that changes nothing');
        trust('stranger.pem');
        assert.ok(await gateway.configure(resources));
        assert.equal(await call(), 502);
        trust('ca.pem');
        assert.ok(await gateway.configure(resources));
        assert.equal(await call(), 200);
    });

    test('with an authority that cannot be read are refused at the start', async (t) => {
        const gateway = await spawnGateway(t, { resources: resourceSet([{ url: 'https://localhost:1', caFile: '/nowhere/ca.pem' }]), mayFail: true });
        assert.equal((await gateway.ended).code, 1);
        assert.match(gateway.stderr(), /\/nowhere\/ca\.pem: cannot use the trusted certificates/);
    });

    test('carry long streams both ways over TLS, byte-true', async (t) => {
        const pieces = Array.from({ length: 300 }, (_, i) => `data: {"choices":[{"index":0,"delta":{"content":"${'ü'.repeat(i * 7)}"}}]}\n\n`);
        const server = https.createServer({ key: readFileSync(file('local.key')), cert: readFileSync(file('local.pem')) }, (q, s) => {
            q.resume();
            s.setHeader('content-type', 'text/event-stream');
            (async () => {
                for (const p of pieces) {
                    s.write(p);
                    await new Promise(setImmediate);
                }
                s.end('data: [DONE]\n\n');
            })();
        });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        t.after(() => server.close());
        t.after(() => server.closeAllConnections());
        const gateway = await spawnGateway(t, {
            resources: resourceSet([{ url: `https://localhost:${server.address().port}`, caFile: file('ca.pem') }]),
            args: ['--tls-listen', '127.0.0.1:0', '--tls-cert', file('local.pem'), '--tls-key', file('local.key')],
        });
        const socket = tls.connect({ host: '127.0.0.1', port: Number(new URL(gateway.tlsUrl).port), ca: readFileSync(file('ca.pem')) });
        await once(socket, 'secureConnect');
        const c = rawConnection(gateway.tlsUrl, socket);
        c.write(requestBytes(chatTarget(), { ...good, stream: true }));
        const answer = await c.response();
        c.destroy();
        assert.equal(answer.body, `${pieces.join('')}data: [DONE]\n\n`);
        const [line] = await gateway.settled(1);
        assert.equal(line.outputTokens, 299);
    });
});
