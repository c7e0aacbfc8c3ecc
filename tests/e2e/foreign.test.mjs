// foreign.test.mjs - servers that are not ours: one from npm behind the gateway, and recorded streams of others, cut everywhere.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import OpenAI, { AzureOpenAI } from 'openai';
import {
    apiKey, chatTarget, chunk, deployment, fakeBackend, lastChunk, rawConnection, requestBytes, resourceSet, spawnGateway, streamHead,
    until, usualDeployments,
} from './support.mjs';

describe('a server from npm', () => {
    const text = 'Grüße vom Wehr 🌊, "zitiert" \\ und mehr.';
    let mock, gateway, client;
    before(async () => {
        mock = new LLMock({ port: 0 });
        mock.onMessage('greet', { content: text });
        mock.onMessage('exactly', { content: text, usage: { prompt_tokens: 123, completion_tokens: 45, total_tokens: 168 } });
        mock.onMessage('level', { toolCalls: [{ name: 'level_of', arguments: '{"river":"Isar"}' }] });
        mock.onEmbedding('river', { embedding: Array.from({ length: 8 }, (_, i) => i / 8) });
        await mock.start();
        gateway = await spawnGateway(null, { resources: resourceSet([mock.url]) });
        client = new AzureOpenAI({ endpoint: gateway.url, apiKey, apiVersion: '2024-10-21', maxRetries: 0 });
    });
    after(async () => {
        const end = await gateway.stop();
        await mock.stop();
        assert.deepEqual(end, { code: 0, signal: null });
    });

    const ask = (content, more = {}) => ({ model: 'ptu', messages: [{ role: 'user', content }], ...more });
    const lineOf = (id) => until(() => gateway.lines().find((l) => l.id === id));

    test('chats byte-true, and is charged by its own usage', async () => {
        const { data, response } = await client.chat.completions.create(ask('exactly')).withResponse();
        assert.equal(data.choices[0].message.content, text);
        assert.equal(data.usage.prompt_tokens, 123);
        const line = await lineOf(response.headers.get('apim-request-id'));
        assert.equal(line.chargeMt, 123 * 1000 + 45 * 3000);
    });

    test('streams byte-true; usage is asked for, counted, and shown only to whom asked', async () => {
        for (const options of [undefined, { include_usage: true }]) {
            const { data, response } = await client.chat.completions.create(ask('exactly', { stream: true, stream_options: options })).withResponse();
            let got = '';
            const usages = [];
            for await (const c of data) {
                got += c.choices[0]?.delta?.content ?? '';
                if (c.usage) usages.push(c.usage);
            }
            assert.equal(got, text);
            assert.equal(usages.length, options ? 1 : 0);
            const line = await lineOf(response.headers.get('apim-request-id'));
            assert.equal(line.counts, 'reported');
            assert.equal(line.chargeMt, 123 * 1000 + 45 * 3000);
        }
    });

    test('calls tools, streamed and not', async () => {
        const tools = [{ type: 'function', function: { name: 'level_of', parameters: { type: 'object', properties: {} } } }];
        const { choices } = await client.chat.completions.create(ask('level', { tools }));
        assert.equal(choices[0].message.tool_calls[0].function.arguments, '{"river":"Isar"}');
        let args = '';
        for await (const c of await client.chat.completions.create(ask('level', { tools, stream: true })))
            args += c.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments ?? '';
        assert.equal(args, '{"river":"Isar"}');
    });

    test('embeds, and answers by the Responses API, streamed and not', async () => {
        const plain = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 });
        const { data } = await plain.embeddings.create({ model: 'embed', input: 'river', encoding_format: 'float' });
        assert.deepEqual(data[0].embedding, Array.from({ length: 8 }, (_, i) => i / 8));
        const response = await plain.responses.create({ model: 'ptu', input: 'greet' });
        assert.equal(response.output_text, text);
        let got = '';
        for await (const e of await plain.responses.create({ model: 'ptu', input: 'greet', stream: true }))
            if (e.type === 'response.output_text.delta') got += e.delta;
        assert.equal(got, text);
    });

    test('refuses what it does not know, in its own words, for free', async () => {
        const { chargedMt } = await gateway.debug();
        const e = await client.chat.completions.create(ask('something nobody taught it')).then(() => assert.fail('no error'), (x) => x);
        assert.ok(e.status >= 400 && e.status < 500, `${e.status}`);
        await until(async () => (await gateway.debug()).inFlight === 0);
        assert.equal((await gateway.debug()).chargedMt, chargedMt);
    });
});

// What each recorded stream is worth. `hidden` is the usage chunk that a caller who did not ask does not see.
const recordings = {
    'vllm.sse': { prompt: 44, output: 13, counts: 'reported', hidden: true },
    'vllm-continuous.sse': { prompt: 44, output: 13, counts: 'reported', hidden: true },
    'vllm-tools.sse': { prompt: 180, cached: 160, output: 23, counts: 'reported', hidden: true },
    'llama-cpp.sse': { prompt: 31, output: 9, counts: 'reported', hidden: true },
    'llama-cpp-old.sse': { output: 8, counts: 'counted', hidden: false },
    'azure.sse': { prompt: 1566, cached: 1408, output: 11, counts: 'reported', hidden: true },
    'azure-without-usage.sse': { output: 10, counts: 'counted', hidden: false },
    'azure-null-usage.sse': { prompt: 1566, cached: 1408, output: 11, counts: 'reported', hidden: true },
    'azure-filtered.sse': { prompt: 20, output: 2, counts: 'reported', hidden: true },
    'comments-crlf.sse': { prompt: 7, output: 3, counts: 'reported', hidden: true },
    'responses.sse': { prompt: 2048, cached: 1920, output: 5, counts: 'reported', hidden: false, isResponse: true },
};

const read = (name) => readFileSync(path.join(import.meta.dirname, 'fixtures', name));

// The recording without the event that has usage and no choice.
function withoutUsage(bytes) {
    const text = bytes.toString();
    const gap = text.includes('\r\n\r\n') ? '\r\n\r\n' : '\n\n';
    const events = text.split(gap).filter((e) => {
        const data = e.replace(/^data: ?/, '');
        return !(data.startsWith('{') && /"choices": ?\[\]/.test(data) && JSON.parse(data).usage);
    });
    return Buffer.from(events.join(gap));
}

// How the bytes of a body travel: their framing, and pieces of which each is a write of its own.
const transports = {
    chunked: { head: streamHead(), wrap: chunk, end: lastChunk },
    'with a length': { head: (n) => `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncontent-length: ${n}\r\n\r\n`, wrap: (b) => b, end: '' },
    'until the end': { head: 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n', wrap: (b) => b, end: null },
};
// Sizes of pieces; 0 is all in one; a function cuts where it likes.
const cuts = {
    'at every byte': () => 1,
    'in threes': () => 3,
    'in sevens': () => 7,
    'in pieces of 61': () => 61,
    'in pieces of 1,000': () => 1000,
    'in pieces of growing size': (i) => i + 1,
    'not at all': () => Infinity,
};

describe('recorded streams', () => {
    for (const [name, expected] of Object.entries(recordings)) {
        const bytes = read(name);

        for (const [transport, how] of Object.entries(transports)) {
            test(`${name} ${transport} arrives byte-true and is accounted right, wherever it is cut`, async (t) => {
                let size = () => Infinity;
                const backend = await fakeBackend(t, async (r) => {
                    r.write(typeof how.head === 'function' ? how.head(bytes.length) : how.head);
                    for (let at = 0, i = 0; at < bytes.length; i++) {
                        const n = Math.min(size(i), bytes.length - at);
                        r.write(how.wrap(bytes.subarray(at, at + n)));
                        at += n;
                        if (n < 50) await new Promise(setImmediate); // so that the kernel does not put them together
                    }
                    if (how.end === null) r.socket.end();
                    else r.write(how.end);
                });
                const gateway = await spawnGateway(t, { resources: resourceSet([backend.url], [deployment('ptu')]) });
                const calls = [];
                for (const [cut, sizes] of Object.entries(cuts)) {
                    size = sizes;
                    for (const asks of [true, false]) {
                        const options = asks ? { stream_options: { include_usage: true } } : {};
                        const client = rawConnection(gateway.url);
                        client.write(expected.isResponse
                            ? requestBytes('/openai/v1/responses', { model: 'ptu', input: 'x', stream: true })
                            : requestBytes(chatTarget(), { messages: [{ role: 'user', content: 'x' }], stream: true, max_tokens: 40, ...options }));
                        const answer = await client.response();
                        client.destroy();
                        calls.push(answer.headers['apim-request-id']);
                        const shown = asks || !expected.hidden ? bytes : withoutUsage(bytes);
                        assert.equal(answer.body, shown.toString(), `${cut}, usage ${asks ? '' : 'not '}asked for`);
                    }
                }
                const lines = await gateway.settled(calls.length);
                for (const id of calls) {
                    const line = lines.find((l) => l.id === id);
                    const prompt = expected.prompt ?? line.promptEstimate;
                    const { cached = 0, output } = expected;
                    assert.deepEqual([line.counts, line.promptTokens, line.cachedTokens, line.outputTokens], [expected.counts, prompt, cached, output]);
                    assert.equal(line.chargeMt, (prompt - cached) * 1000 + output * 3000);
                    assert.equal(line.outcome, 'ok');
                }
                const { chargedMt } = await gateway.debug();
                assert.equal(chargedMt, lines.reduce((sum, l) => sum + l.chargeMt, 0));
            });
        }

        if (expected.isResponse) continue;
        test(`${name} is read by the openai package as it was said`, async (t) => {
            const backend = await fakeBackend(t, (r) => r.write(Buffer.concat([Buffer.from(streamHead()), chunk(bytes), Buffer.from(lastChunk)])));
            const gateway = await spawnGateway(t, { resources: resourceSet([backend.url], usualDeployments()) });
            const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 });
            const direct = new OpenAI({ baseURL: `${backend.url}/v1`, apiKey, maxRetries: 0 });
            const body = { model: 'ptu', messages: [{ role: 'user', content: 'x' }], stream: true, stream_options: { include_usage: true } };
            const collect = async (c) => {
                const all = [];
                for await (const piece of await c.chat.completions.create(body)) all.push(piece);
                return all;
            };
            assert.deepEqual(await collect(client), await collect(direct));
        });
    }
});
