// badinput.test.mjs - requests that are wrong, ambiguous, endless or hostile: a clear error, bounded memory and time, nothing charged.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import {
    apiKey, chatCall, chatTarget, delay, isSanitized, rawConnection, requestBytes, resourceSet, spawnGateway, spawnSimulator, until, withinTime,
} from './support.mjs';

const guid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const good = { messages: [{ role: 'user', content: 'Hello' }], max_tokens: 3 };

const post = (fields, body = '', line = `POST ${chatTarget()} HTTP/1.1`) =>
    Buffer.concat([Buffer.from(`${line}\r\nhost: h\r\napi-key: ${apiKey}\r\n${fields}\r\n`), Buffer.from(body)]);

// `gateway` gives requests all the time that a busy machine may need for them; `brief` is for those who wait for their end.
const headMs = 1200, bodyMs = 1500;
let sim, gateway, brief, rssBefore;
before(async () => {
    sim = await spawnSimulator(null, '--profile', 'instant');
    const spawn = (head, body) => spawnGateway(null, {
        resources: resourceSet([sim.url]),
        args: ['--head-timeout', `${head}ms`, '--body-timeout', `${body}ms`, '--body-limit', '1M'],
    });
    gateway = await spawn(60000, 60000);
    brief = await spawn(headMs, bodyMs);
    await (await chatCall(gateway)).arrayBuffer();
    rssBefore = rss();
});

// Whatever came: a good call is served as ever, and the bad ones have cost nothing.
let charged;
async function levels() {
    const all = await Promise.all([gateway, brief].flatMap((g) => ['ptu', 'standard', 'embed'].map((name) => g.debug(name))));
    return all.map((d) => [d.admitted, d.inFlight, d.chargedMt]);
}
describe('bad input', () => {
    before(async () => {
        await until(async () => (await gateway.debug()).inFlight === 0);
        charged = await levels();
    });
    afterEach(async () => {
        for (const g of [gateway, brief]) {
            assert.ok(!g.hasEnded(), g.stderr());
            await until(async () => (await g.metric('weir_calls_in_flight')) === 0);
        }
        assert.deepEqual(await levels(), charged);
        const response = await chatCall(gateway, good);
        assert.equal(response.status, 200);
        await response.arrayBuffer();
        charged = await levels();
    });

    httpCases();
    targetCases();
    jsonCases();
    slowCases();
    hostileCases();
});

after(async () => {
    const gateways = [gateway, brief], ends = await Promise.all(gateways.map((g) => g.stop()));
    await sim.stop();
    for (const [i, end] of ends.entries()) assert.deepEqual(end, { code: 0, signal: null }, gateways[i].stderr());
});

const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))[1]) * 1024;

// Sends bytes; gives the one answer, which must be an error of the contract's shape, and the end of the connection.
async function refused(bytes, status, { closes = true, code, param, message } = {}) {
    const c = rawConnection(gateway.url);
    c.write(bytes);
    const answer = await c.response();
    assert.ok(answer, 'no answer came');
    assert.equal(answer.status, status, answer.body);
    assertError(answer, { code, param, message });
    if (closes) {
        assert.equal(answer.headers.connection, 'close');
        await until(() => c.hasEnded());
        assert.equal(await c.response({ ms: 100 }).catch(() => null), null, 'a second answer came');
    }
    c.destroy();
    return answer;
}

function assertError(answer, { code, param, message } = {}) {
    assert.equal(answer.headers['content-type'], 'application/json');
    const { error } = answer.json();
    assert.deepEqual(Object.keys(error).slice(0, 4), ['code', 'message', 'type', 'param']);
    assert.equal(typeof error.code, 'string');
    assert.ok(error.message.length > 10, error.message);
    assert.match(answer.headers['apim-request-id'] ?? '', guid, 'every error names its request');
    if (code !== undefined) assert.equal(error.code, code);
    if (param !== undefined) assert.equal(error.param, param);
    if (message) assert.match(error.message, message);
}

function httpCases() {
    const json = JSON.stringify(good);
    const n = Buffer.byteLength(json);
    const smuggled = 'POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\n\r\n';
    const cases = {
        'both Content-Length and Transfer-Encoding': post(`content-length: ${n}\r\ntransfer-encoding: chunked\r\n`, `0\r\n\r\n${smuggled}`),
        'both, the other way round': post(`transfer-encoding: chunked\r\ncontent-length: ${n}\r\n`, `0\r\n\r\n${smuggled}`),
        'two different Content-Lengths': post(`content-length: ${n}\r\ncontent-length: 0\r\n`, json),
        'two equal Content-Lengths': post(`content-length: ${n}\r\ncontent-length: ${n}\r\n`, json),
        'a list of Content-Lengths': post(`content-length: ${n}, ${n}\r\n`, json),
        'a negative Content-Length': post('content-length: -1\r\n', json),
        'a Content-Length with a sign': post(`content-length: +${n}\r\n`, json),
        'a hexadecimal Content-Length': post('content-length: 0x10\r\n', json),
        'an empty Content-Length': post('content-length: \r\n', json),
        'a Content-Length of two numbers': post('content-length: 5 5\r\n', json),
        'another transfer encoding': post('transfer-encoding: gzip, chunked\r\n', '0\r\n\r\n'),
        'chunked not last': post('transfer-encoding: chunked, identity\r\n', '0\r\n\r\n'),
        'two Transfer-Encodings': post('transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n', '0\r\n\r\n'),
        'a Transfer-Encoding that hides itself': post('transfer-encoding: xchunked\r\n', '0\r\n\r\n'),
        'a blank before the colon': post(`content-length : ${n}\r\n`, json),
        'a folded field': post(`x-a: b\r\n c\r\ncontent-length: ${n}\r\n`, json),
        'a folded field with a tab': post(`x-a: b\r\n\tc\r\ncontent-length: ${n}\r\n`, json),
        'a bare line feed after the request line': Buffer.from(`POST ${chatTarget()} HTTP/1.1\nhost: h\r\ncontent-length: 0\r\n\r\n`),
        'a bare line feed after a field': Buffer.from(`POST ${chatTarget()} HTTP/1.1\r\nhost: h\ncontent-length: 0\r\n\r\n`),
        'a bare line feed at the end of the head': Buffer.from(`POST ${chatTarget()} HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\n`),
        'a bare carriage return in a field': post(`x-a: b\rc\r\ncontent-length: ${n}\r\n`, json),
        'a zero byte in a field': post(`x-a: b\0c\r\ncontent-length: ${n}\r\n`, json),
        'a field without a colon': post('no colon here\r\n', json),
        'an empty field name': post(': nameless\r\n', json),
        'a chunk size of letters': post('transfer-encoding: chunked\r\n', 'xyz\r\nabc\r\n0\r\n\r\n'),
        'a chunk size with a sign': post('transfer-encoding: chunked\r\n', '-3\r\nabc\r\n0\r\n\r\n'),
        'a chunk size with 0x': post('transfer-encoding: chunked\r\n', '0x3\r\nabc\r\n0\r\n\r\n'),
        'an empty chunk size': post('transfer-encoding: chunked\r\n', '\r\nabc\r\n0\r\n\r\n'),
        'a chunk size beyond 64 bits': post('transfer-encoding: chunked\r\n', '10000000000000000\r\nabc'),
        'a chunk longer than its size': post('transfer-encoding: chunked\r\n', '3\r\nabcdef\r\n0\r\n\r\n'),
        'chunks ended by bare line feeds': post('transfer-encoding: chunked\r\n', '3\nabc\n0\n\n'),
        'no Host': Buffer.from(`GET /v1/models HTTP/1.1\r\napi-key: ${apiKey}\r\n\r\n`),
        'two Hosts': Buffer.from('GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n'),
        'no HTTP': Buffer.from('\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 'latin1'),
        'an unknown method': Buffer.from('FROB /v1/models HTTP/1.1\r\nhost: h\r\n\r\n'),
        'a request line of one word': Buffer.from('GET\r\nhost: h\r\n\r\n'),
        'a blank in the target': Buffer.from('GET /v1/mo dels HTTP/1.1\r\nhost: h\r\n\r\n'),
        'Transfer-Encoding in HTTP/1.0': post('transfer-encoding: chunked\r\n', '0\r\n\r\n', `POST ${chatTarget()} HTTP/1.0`),
    };
    for (const [what, bytes] of Object.entries(cases)) {
        test(`${what} is refused, and the connection ends`, async () => {
            await refused(bytes, 400);
        });
    }

    test('HTTP/0.9, 2 and 3.1 are versions that are not spoken here', async () => {
        await refused(Buffer.from('GET /v1/models\r\n\r\n'), 505);
        await refused(Buffer.from('GET / HTTP/2.0\r\nhost: h\r\n\r\n'), 505, { code: 'HttpVersionNotSupported' });
        await refused(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 400);
        await refused(Buffer.from('GET / HTTP/3.1\r\nhost: h\r\n\r\n'), 505);
    });

    test('a refusal may come a byte at a time and is the same', async () => {
        const bytes = cases['a folded field'];
        const c = rawConnection(gateway.url);
        for (const byte of bytes.subarray(0, 200)) {
            c.write(Buffer.from([byte]));
            await new Promise(setImmediate);
        }
        assert.equal((await c.response()).status, 400);
        c.destroy();
    });

    test('heads beyond the limit are refused, in one field, in many, and in the target', async () => {
        await refused(post(`x-long: ${'a'.repeat(40000)}\r\n`), 431, { code: 'RequestHeaderFieldsTooLarge' });
        await refused(post(Array.from({ length: 500 }, (_, i) => `x-${i}: 1\r\n`).join('')), 431);
        await refused(Buffer.from(`GET /${'a'.repeat(40000)} HTTP/1.1\r\nhost: h\r\n\r\n`), 431);
        const c = rawConnection(gateway.url); // never ends its head
        for (let i = 0; i < 2000 && !c.hasEnded(); i++) c.write(`x-${i}: ${'b'.repeat(1000)}\r\n`);
        assert.equal((await c.response()).status, 400);
        c.destroy();
    });

    test('bodies beyond the limit are refused: at once by their length, in chunks when there is too much', async () => {
        await refused(post('content-length: 1048577\r\n'), 413, { code: 'RequestTooLarge' });
        await refused(post('content-length: 9223372036854775807\r\n'), 413);
        await refused(post('content-length: 18446744073709551615\r\n'), 413);
        const c = rawConnection(gateway.url);
        c.write(post('transfer-encoding: chunked\r\n'));
        const piece = Buffer.from(`10000\r\n${'z'.repeat(65536)}\r\n`);
        for (let i = 0; i < 17; i++) c.write(piece);
        const answer = await c.response();
        assert.equal(answer.status, 413);
        assertError(answer, { code: 'RequestTooLarge' });
        c.destroy();
    });

    test('a body of exactly the limit is read', async () => {
        const start = '{"messages":[{"role":"user","content":"', end = '"}],"max_tokens":0}';
        const body = start + 'w'.repeat((1 << 20) - start.length - end.length) + end;
        const response = await chatCall(gateway, body, { to: 'nobody' });
        assert.equal(response.status, 404);
        const read = await chatCall(gateway, body.replace('"messages"', '"massages"'));
        assert.equal(read.status, 400);
        assert.equal((await read.json()).error.param, 'messages');
    });

    test('an expectation other than 100-continue is refused', async () => {
        await refused(post('expect: 200-maybe\r\ncontent-length: 5\r\n'), 417, { code: 'ExpectationFailed' });
    });

    test('garbage after a good call on the same connection is refused like any other', async () => {
        for (const first of [requestBytes('/v1/models', undefined), requestBytes('/v1/models', undefined, { method: 'HEAD' })]) {
            const c = rawConnection(gateway.url);
            c.write(first);
            assert.equal((await c.response({ isHead: first.toString().startsWith('HEAD') })).status, 200);
            c.write('garbage\r\n\r\n');
            const answer = await c.response();
            assert.equal(answer.status, 400);
            assertError(answer);
            await until(() => c.hasEnded());
            c.destroy();
        }
    });

    test('the utilization on a refusal is the true one, or is left out', async () => {
        await until(async () => (await gateway.debug()).inFlight === 0);
        const { levelMt, depthMt } = await gateway.debug();
        const answer = await refused(requestBytes(chatTarget(), '{"messages":7}'), 400, { closes: false });
        const said = parseFloat(answer.headers['azure-openai-deployment-utilization']);
        const after = await gateway.debug();
        assert.ok(said <= levelMt / depthMt * 100 && said >= after.levelMt / depthMt * 100 - 0.1, `${said} of ${levelMt / depthMt * 100}`);
    });

    test('a second request behind a refused one is not read', async () => {
        await refused(Buffer.concat([cases['both Content-Length and Transfer-Encoding'], requestBytes(chatTarget(), good)]), 400);
    });
}

function targetCases() {
    const cases = [
        ['a wrong key', requestBytes(chatTarget(), good, { headers: { 'api-key': 'wrong' } }), 401, '401'],
        ['no key', requestBytes(chatTarget(), good, { headers: { 'api-key': '' } }), 401, '401'],
        ['a key of the right beginning', requestBytes(chatTarget(), good, { headers: { 'api-key': apiKey.slice(0, -1) } }), 401, '401'],
        ['a bearer that is no key', requestBytes(chatTarget(), good, { headers: { 'api-key': '', authorization: 'Bearer x.y.z' } }), 401, '401'],
        ['basic credentials', requestBytes(chatTarget(), good, { headers: { 'api-key': '', authorization: `Basic ${apiKey}` } }), 401, '401'],
        ['an unknown deployment', requestBytes(chatTarget('nobody'), good), 404, 'DeploymentNotFound'],
        ['an unknown deployment as model', requestBytes('/openai/v1/chat/completions', { ...good, model: 'nobody' }), 404, 'DeploymentNotFound'],
        ['no api-version', requestBytes('/openai/deployments/ptu/chat/completions', good), 404, '404', /api-version/],
        ['an empty api-version', requestBytes('/openai/deployments/ptu/chat/completions?api-version=', good), 404, '404', /api-version/],
        ['an unknown path', requestBytes('/v2/chat/completions', good), 404, '404'],
        ['an operation that there is not', requestBytes('/v1/images/generations', good), 404, '404'],
        ['a path that climbs', requestBytes('/v1/../../etc/passwd', good), 404, '404'],
        ['an encoded slash within a name', requestBytes('/openai/deployments/ptu%2Fchat/completions?api-version=1', good), 404, 'DeploymentNotFound'],
        ['the wrong method', requestBytes('/v1/chat/completions', undefined), 405, 'MethodNotAllowed'],
        ['a list by POST', requestBytes('/v1/models', good), 405, 'MethodNotAllowed'],
        ['no model on a path without one', requestBytes('/v1/chat/completions', good), 400, 'invalid_request', /model/],
        ['chat with an embedding model', requestBytes(chatTarget('embed'), good), 400, 'OperationNotSupported'],
    ];
    for (const [what, bytes, status, code, message] of cases) {
        test(`${what} is told so`, async () => {
            const answer = await refused(bytes, status, { closes: false, code, message });
            assert.equal(answer.headers['x-ms-client-request-id'], 'Not-Set');
        });
    }
}

function jsonCases() {
    const deep = (n, open, close) => `{"messages":${open.repeat(n)}${close.repeat(n)}}`;
    const chat = (text) => requestBytes(chatTarget(), text);
    const message = '{"role":"user","content":"x"}';
    const cases = [
        ['an empty body', '', 400],
        ['half an object', '{"messages":[', 400, 'invalid_json'],
        ['a trailing comma', `{"messages":[${message},]}`, 400, 'invalid_json'],
        ['two values', `{"messages":[${message}]} {}`, 400, 'invalid_json'],
        ['a comment', `{"messages":[${message}] /* c */}`, 400, 'invalid_json'],
        ['single quotes', `{'messages':[]}`, 400, 'invalid_json'],
        ['an array', '[]', 400, 'invalid_request'],
        ['a text', '"text"', 400, 'invalid_request'],
        ['null', 'null', 400, 'invalid_request'],
        ['100,000 arrays within each other', deep(100000, '[', ']'), 400, 'invalid_json'],
        ['100,000 objects within each other', `${'{"a":'.repeat(100000)}1${'}'.repeat(100000)}`, 400, 'invalid_json'],
        ['100,000 arrays that never end', `{"messages":${'['.repeat(100000)}`, 400, 'invalid_json'],
        ['a member that counts, given twice', `{"messages":[${message}],"max_tokens":5,"max_tokens":50000}`, 400, 'invalid_request', 'max_tokens'],
        ['the model given twice', `{"messages":[${message}],"model":"a","model":"b"}`, 400, 'invalid_request', 'model'],
        ['messages given twice', `{"messages":[${message}],"messages":[${message}]}`, 400, 'invalid_request', 'messages'],
        ['a member given twice, once escaped', `{"messages":[${message}],"max_tokens":5,"max\\u005ftokens":50000}`, 400, 'invalid_request', 'max_tokens'],
        ['a number like 1e999', `{"messages":[${message}],"temperature":1e999}`, 400, 'invalid_json'],
        ['a limit like 1e999', `{"messages":[${message}],"max_tokens":1e999}`, 400],
        ['a limit beyond 64 bits', `{"messages":[${message}],"max_tokens":99999999999999999999}`, 400],
        ['a limit with a fraction', `{"messages":[${message}],"max_tokens":1.5}`, 400, 'invalid_request', 'max_tokens'],
        ['a limit as text', `{"messages":[${message}],"max_tokens":"5"}`, 400, 'invalid_request', 'max_tokens'],
        ['a negative limit', `{"messages":[${message}],"max_tokens":-1}`, 400, 'invalid_request', 'max_tokens'],
        ['no choices', `{"messages":[${message}],"n":0}`, 400, 'invalid_request', 'n'],
        ['too many choices', `{"messages":[${message}],"n":129}`, 400, 'invalid_request', 'n'],
        ['a stream that is text', `{"messages":[${message}],"stream":"true"}`, 400, 'invalid_request', 'stream'],
        ['stream options that are none', `{"messages":[${message}],"stream":true,"stream_options":7}`, 400, 'invalid_request', 'stream_options'],
        ['a model that is a number', `{"messages":[${message}],"model":7}`, 400, 'invalid_request', 'model'],
        ['messages that are text', '{"messages":"x"}', 400, 'invalid_request', 'messages'],
        ['a message that is text', '{"messages":["x"]}', 400, 'invalid_request', 'messages'],
        ['no messages', '{"messages":[]}', 400, 'invalid_request', 'messages'],
        ['messages left out', '{}', 400, 'invalid_request', 'messages'],
        ['an unescaped control character', `{"messages":[{"role":"user","content":"a\nb"}]}`, 400, 'invalid_json'],
        ['a lone surrogate', `{"messages":[{"role":"user","content":"\\ud800"}]}`, 400, 'invalid_json'],
        ['a byte order mark', `\ufeff{"messages":[${message}]}x`, 400, 'invalid_json'],
    ];
    for (const [what, text, status, code, param] of cases) {
        test(`${what} is told so`, async () => {
            await refused(chat(text), status, { closes: false, code, param });
        });
    }

    test('bytes that are no UTF-8 are refused: wrong, overlong, surrogates, cut off', async () => {
        for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
            const body = Buffer.concat([Buffer.from('{"messages":[{"role":"user","content":"'), Buffer.from(bytes), Buffer.from('"}]}')]);
            await refused(requestBytes(chatTarget(), body), 400, { closes: false, code: 'invalid_json' });
        }
    });

    test('a body that lies about its encoding is read as UTF-8 all the same', async () => {
        const body = Buffer.from(JSON.stringify(good), 'utf16le');
        await refused(requestBytes(chatTarget(), body, { headers: { 'content-type': 'application/json; charset=utf-16' } }), 400, { closes: false });
    });

    test('inputs of embeddings of the wrong kind are told so', async () => {
        const target = '/openai/deployments/embed/embeddings?api-version=2024-10-21';
        for (const input of [7, {}, [], [{}], [null], true])
            await refused(requestBytes(target, { input }), 400, { closes: false, code: 'invalid_request', param: 'input' });
    });

    test('after an error of its body a connection goes on', async () => {
        const c = rawConnection(gateway.url);
        for (const text of ['{', '{}', '[']) {
            c.write(chat(text));
            assert.equal((await c.response()).status, 400);
        }
        c.destroy();
    });
}

function slowCases() {
    const whole = requestBytes(chatTarget(), good);
    const headEnd = whole.indexOf('\r\n\r\n') + 4;

    // Sends a byte every 20 ms until the connection ends; gives how long that took and the answer.
    async function trickle(first, bytes) {
        const c = rawConnection(brief.url);
        const start = performance.now();
        c.write(first);
        for (const byte of bytes) {
            if (c.bytes().length) break;
            c.write(Buffer.from([byte]));
            await delay(20);
        }
        const answer = await c.response();
        const took = performance.now() - start;
        await until(() => c.hasEnded());
        c.destroy();
        return { answer, took };
    }

    test('a head that comes a byte at a time is given up in time', async () => {
        const { answer, took } = await trickle('P', whole.subarray(1, headEnd));
        assert.equal(answer.status, 408);
        assertError(answer, { code: 'RequestTimeout' });
        assert.ok(took >= headMs - 10 && took < 15000, `${took} ms`);
    });

    test('a body that comes a byte at a time is given up in time, by length and in chunks', async () => {
        const byLength = await trickle(post('content-length: 1000\r\n'), Buffer.from(' '.repeat(999)));
        const inChunks = await trickle(post('transfer-encoding: chunked\r\n'), Buffer.from('1\r\n \r\n'.repeat(200)));
        for (const { answer, took } of [byLength, inChunks]) {
            assert.equal(answer.status, 408);
            assertError(answer);
            assert.ok(took >= bodyMs - 10 && took < 15000, `${took} ms`);
        }
    });

    test('a head that stops is given up in time', async () => {
        const c = rawConnection(brief.url);
        c.write(whole.subarray(0, headEnd - 2));
        assert.equal((await c.response()).status, 408);
        c.destroy();
    });

    test('300 slow senders at once do not keep a good one waiting', async () => {
        await withinTime(async () => {
            const slow = Array.from({ length: 300 }, () => rawConnection(brief.url));
            for (const c of slow) c.write(whole.subarray(0, 50));
            const start = performance.now();
            const response = await chatCall(brief, '{}');
            assert.equal(response.status, 400);
            await response.arrayBuffer();
            const took = performance.now() - start;
            for (const c of slow) {
                assert.equal((await c.response()).status, 408);
                c.destroy();
            }
            return took < 1000 ? null : `${took} ms`;
        });
        await until(async () => (await brief.metric('weir_client_connections')) <= 5);
    });

    test('a sender that is merely slow is served', async () => {
        const c = rawConnection(gateway.url);
        const bytes = requestBytes(chatTarget(), '{"messages":7}');
        for (let i = 0; i < bytes.length; i += 20) {
            c.write(bytes.subarray(i, i + 20));
            await delay(5);
        }
        assert.equal((await c.response()).status, 400);
        c.destroy();
    });
}

function hostileCases() {
    const whole = requestBytes(chatTarget('nobody'), good);

    test('peers that reset or half-close at every byte of a request harm nobody', async () => {
        for (const leave of ['reset', 'end', 'destroy']) {
            for (let i = 0; i <= whole.length; i += 7) {
                const c = rawConnection(gateway.url);
                await until(() => !c.socket.connecting);
                c.write(whole.subarray(0, i));
                if (i % 2) await new Promise(setImmediate);
                c[leave]();
                if (leave === 'end') setTimeout(() => c.destroy(), 100);
            }
        }
        await until(async () => (await gateway.metric('weir_client_connections')) <= 5);
    });

    test('a half-closed peer that sent half a request is told so', async () => {
        const c = rawConnection(gateway.url);
        c.write(whole.subarray(0, 40));
        c.end();
        const answer = await c.response();
        assert.equal(answer.status, 400);
        assertError(answer, { message: /ended early/ });
        c.destroy();
    });

    test('a thousand wrong requests of each kind leave no memory behind', async () => {
        const kinds = [
            requestBytes(chatTarget(), '{"messages":['),
            requestBytes(chatTarget('nobody'), good),
            requestBytes(chatTarget(), good, { headers: { 'api-key': 'wrong' } }),
            requestBytes(chatTarget(), `{"messages":${'['.repeat(100000)}`),
            post('transfer-encoding: gzip\r\n'),
            post('content-length: 1048576\r\n', 'x'.repeat(300000)),
        ];
        const round = async (n) => {
            for (let i = 0; i < n; i += 20) {
                await Promise.all(Array.from({ length: 20 }, async (_, k) => {
                    const c = rawConnection(gateway.url);
                    c.write(kinds[(i + k) % kinds.length]);
                    if ((i + k) % kinds.length === 5) await delay(5);
                    else await c.response();
                    c.destroy();
                }));
            }
        };
        await round(600); // what is taken once and kept
        const warm = rss();
        await round(isSanitized ? 600 : 3000);
        await until(async () => (await gateway.metric('weir_client_connections')) <= 5);
        const grown = rss() - warm;
        if (isSanitized) return; // it keeps what is freed, to catch its use
        assert.ok(grown < 12e6, `${Math.round(grown / 1024)} KiB more`);
        assert.ok(rss() < rssBefore + 96e6, `${Math.round(rss() / 1048576)} MiB in all`);
    });
}

describe('good input that is rare', () => {
    // Answers without the fields that differ from call to call.
    const textOf = (answer) => answer.json().choices[0].message.content;
    const call = (text, more) => requestBytes(chatTarget(), { messages: [{ role: 'user', content: `[[echo:${text}]]` }] }, more);

    test('50 pipelined requests are answered in their order', async () => {
        const c = rawConnection(gateway.url);
        c.write(Buffer.concat(Array.from({ length: 50 }, (_, i) => call(`answer ${i}`))));
        for (let i = 0; i < 50; i++) assert.equal(textOf(await c.response()), `answer ${i}`);
        c.destroy();
    });

    test('pipelined requests of every kind keep their order, errors and streams among them', async () => {
        const c = rawConnection(gateway.url);
        c.write(Buffer.concat([
            call('one'),
            requestBytes(chatTarget('nobody'), good),
            requestBytes(chatTarget(), { ...good, stream: true }),
            requestBytes('/v1/models', undefined),
            requestBytes(chatTarget(), '{}'),
            requestBytes('/v1/models', undefined, { method: 'OPTIONS' }),
            call('last'),
        ]));
        assert.equal(textOf(await c.response()), 'one');
        // The path is known to be wrong before the body came; the rest of the connection is not lost by that.
        const unknown = await c.response();
        assert.equal(unknown.status, 404);
        if (unknown.headers.connection === 'close') return c.destroy();
        assert.ok((await c.response()).body.endsWith('data: [DONE]\n\n'));
        assert.equal((await c.response()).json().object, 'list');
        assert.equal((await c.response()).status, 400);
        assert.equal((await c.response()).status, 204);
        assert.equal(textOf(await c.response()), 'last');
        c.destroy();
    });

    test('a hundred large pipelined requests do not fill our memory', async () => {
        const c = rawConnection(gateway.url);
        const text = 'large '.repeat(20000);
        // A deployment of its own: it fills.
        const bytes = requestBytes(chatTarget('standard'), { messages: [{ role: 'user', content: `[[echo:${text}]]` }] });
        for (let i = 0; i < 100; i++) c.write(bytes);
        for (let i = 0; i < 100; i++) {
            const answer = await c.response();
            assert.ok([200, 429].includes(answer.status), answer.body);
        }
        c.destroy();
        if (!isSanitized) assert.ok(rss() < rssBefore + 96e6);
    });

    test('chunked requests are read, whatever their chunks and extensions', async () => {
        const text = JSON.stringify({ messages: [{ role: 'user', content: '[[echo:chünked]]' }] });
        const bytes = Buffer.from(text);
        const cut = (n) => {
            const pieces = [];
            for (let i = 0; i < bytes.length; i += n) {
                const piece = bytes.subarray(i, i + n);
                pieces.push(Buffer.from(`${piece.length.toString(16).toUpperCase()};ext=1\r\n`), piece, Buffer.from('\r\n'));
            }
            return Buffer.concat(pieces);
        };
        const c = rawConnection(gateway.url);
        for (const n of [1, 2, 7, 1000]) {
            for (const trailer of ['', 'x-checksum: 5\r\n']) {
                c.write(Buffer.concat([post('transfer-encoding: chunked\r\n'), cut(n), Buffer.from(`0\r\n${trailer}\r\n`)]));
                assert.equal(textOf(await c.response()), 'chünked');
            }
        }
        c.destroy();
    });

    test('Expect: 100-continue gets its 100, then the answer; a refusal comes instead of it', async () => {
        const c = rawConnection(gateway.url);
        const bytes = call('expected', { headers: { expect: '100-continue' } });
        const headEnd = bytes.indexOf('\r\n\r\n') + 4;
        c.write(bytes.subarray(0, headEnd));
        assert.equal((await c.response()).status, 100);
        c.write(bytes.subarray(headEnd));
        assert.equal(textOf(await c.response()), 'expected');
        c.destroy();
        const wrong = rawConnection(gateway.url);
        wrong.write(requestBytes(chatTarget('nobody'), undefined, { method: 'POST', headers: { expect: '100-continue', 'content-length': 100 } }));
        assert.equal((await wrong.response()).status, 404);
        wrong.destroy();
    });

    test('a connection is kept for many calls, and closed when the caller asks', async () => {
        const c = rawConnection(gateway.url);
        for (let i = 0; i < 20; i++) {
            c.write(call(`call ${i}`));
            assert.equal(textOf(await c.response()), `call ${i}`);
        }
        c.write(call('the last', { headers: { connection: 'close' } }));
        const answer = await c.response();
        assert.equal(answer.headers.connection, 'close');
        assert.equal(textOf(answer), 'the last');
        await until(() => c.hasEnded());
        c.destroy();
    });

    test('HTTP/1.0 is answered and closed, or kept when asked; its streams end with the connection', async () => {
        const old = (bytes) => Buffer.from(bytes.toString('latin1').replace('HTTP/1.1', 'HTTP/1.0'), 'latin1');
        const once = rawConnection(gateway.url);
        once.write(old(call('old')));
        assert.equal(textOf(await once.response()), 'old');
        await until(() => once.hasEnded());
        once.destroy();
        const kept = rawConnection(gateway.url);
        for (let i = 0; i < 2; i++) {
            kept.write(old(call('kept', { headers: { connection: 'keep-alive' } })));
            const answer = await kept.response();
            assert.equal(textOf(answer), 'kept');
            assert.equal(answer.headers.connection, 'keep-alive');
        }
        kept.destroy();
        const stream = rawConnection(gateway.url);
        stream.write(old(requestBytes(chatTarget(), { ...good, stream: true })));
        await until(() => stream.hasEnded());
        const answer = await stream.response();
        assert.equal(answer.headers['transfer-encoding'], undefined);
        assert.ok(answer.body.endsWith('data: [DONE]\n\n'));
        stream.destroy();
    });

    test('HEAD gets the head of GET and no body; OPTIONS says what is allowed', async () => {
        const c = rawConnection(gateway.url);
        c.write(requestBytes('/v1/models', undefined));
        const get = await c.response();
        c.write(requestBytes('/v1/models', undefined, { method: 'HEAD' }));
        const head = await c.response({ isHead: true });
        assert.equal(head.status, 200);
        assert.equal(head.headers['content-length'], get.headers['content-length']);
        c.write(requestBytes('/v1/chat/completions', undefined, { method: 'OPTIONS' }));
        const options = await c.response();
        assert.equal(options.status, 204);
        assert.match(options.headers.allow, /POST/);
        c.write(call('still here'));
        assert.equal(textOf(await c.response()), 'still here');
        c.write(requestBytes('/v1/chat/completions', undefined, { method: 'HEAD' }));
        const not = await c.response({ isHead: true });
        assert.equal(not.status, 405);
        c.destroy();
    });

    test('empty lines before a request are passed over', async () => {
        const c = rawConnection(gateway.url);
        c.write(Buffer.concat([Buffer.from('\r\n\r\n'), call('after blank lines')]));
        const answer = await c.response();
        assert.ok(answer.status === 200 || answer.status === 400, answer.body);
        c.destroy();
    });

    test('a limit of null is no limit, and unknown members pass', async () => {
        const response = await chatCall(gateway, { messages: good.messages, max_tokens: null, n: null, stream: null, stop: null, frobs: [{}] });
        assert.equal(response.status, 200);
        await response.arrayBuffer();
    });
});
