// simulate.test.mjs - `weir simulate`, by the official client and by plain requests.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import OpenAI, { AzureOpenAI } from 'openai';
import {
    delay, rawConnection, rawExchange, readSse, requestBytes, runWeir, spawnSimulator, textOf, until, withinTime,
} from './support.mjs';

const messages = [{ role: 'user', content: 'Tell me about rivers.' }];

function post(sim, path, body, headers = {}) {
    return fetch(sim.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
    });
}

function chat(sim, body, headers) {
    return post(sim, '/v1/chat/completions', { model: 'gpt-4o', messages, ...body }, headers);
}

async function chatStream(sim, body, headers) {
    const response = await chat(sim, { stream: true, stream_options: { include_usage: true }, ...body }, headers);
    assert.equal(response.status, 200);
    return readSse(response);
}

const chunksOf = (events) => events.filter((e) => e.data.startsWith('{')).map((e) => JSON.parse(e.data));

describe('a simulator without waiting', () => {
    let sim, client;
    before(async () => {
        sim = await spawnSimulator(null, '--profile', 'instant');
        client = new OpenAI({ baseURL: `${sim.url}/v1`, apiKey: 'any', maxRetries: 0 });
    });
    after(() => sim?.stop());

    test('answers a chat and says what it used', async () => {
        const { data, response } = await client.chat.completions.create({ model: 'gpt-4o', messages }).withResponse();
        assert.equal(response.headers.get('x-weir-simulated'), 'true');
        assert.match(data._request_id, /^req_/);
        assert.match(data.id, /^chatcmpl-/);
        assert.equal(data.model, 'gpt-4o');
        const [choice] = data.choices;
        assert.equal(choice.message.role, 'assistant');
        assert.equal(choice.finish_reason, 'stop');
        assert.equal(data.usage.completion_tokens, choice.message.content.split(' ').length);
        // 21 bytes of text make 6 tokens, the message 3 and the prompt 3.
        assert.equal(data.usage.prompt_tokens, 12);
        assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
    });

    test('says the same to the same and something else with another seed', async () => {
        const ask = async (more) =>
            (await client.chat.completions.create({ model: 'gpt-4o', messages, ...more })).choices[0].message.content;
        assert.equal(await ask(), await ask());
        assert.notEqual(await ask(), await ask({ seed: 5 }));
        assert.equal(await ask({ seed: 5 }), await ask({ seed: 5 }));
    });

    test('streams the same text, one token a chunk', async () => {
        const whole = await client.chat.completions.create({ model: 'gpt-4o', messages });
        const { events, error } = await chatStream(sim);
        assert.equal(error, null);
        assert.equal(textOf(events), whole.choices[0].message.content);
        assert.equal(events.at(-1).data, '[DONE]');
        const chunks = chunksOf(events);
        assert.equal(chunks[0].choices[0].delta.role, 'assistant');
        assert.equal(chunks.length, 1 + whole.usage.completion_tokens + 1 + 1);
        assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.deepEqual(chunks.at(-1).usage, whole.usage);
        assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
    });

    test('says nothing of usage in a stream that did not ask', async () => {
        const { text, events } = await readSse(await chat(sim, { stream: true }));
        assert.ok(!text.includes('usage'));
        assert.equal(events.at(-1).data, '[DONE]');
    });

    test('the official client reads a stream', async () => {
        const stream = await client.chat.completions.create({
            model: 'gpt-4o', messages, stream: true, max_tokens: 7, stream_options: { include_usage: true },
        });
        let text = '', usage, reason;
        for await (const chunk of stream) {
            text += chunk.choices[0]?.delta.content ?? '';
            reason = chunk.choices[0]?.finish_reason ?? reason;
            usage = chunk.usage ?? usage;
        }
        assert.equal(text.split(' ').length, 7);
        assert.equal(reason, 'length');
        assert.equal(usage.completion_tokens, 7);
    });

    test('stops at the limit, or by itself when the limit is not reached', async () => {
        for (const [field, limit, reason] of [
            ['max_tokens', 3, 'length'],
            ['max_completion_tokens', 4, 'length'],
            ['max_tokens', 100000, 'stop'],
        ]) {
            const { choices, usage } = await client.chat.completions.create({ model: 'm', messages, [field]: limit });
            assert.equal(choices[0].finish_reason, reason);
            assert.equal(usage.completion_tokens <= limit, true);
            if (reason === 'length') assert.equal(usage.completion_tokens, limit);
        }
    });

    test('the order for a length is obeyed exactly', async () => {
        for (const n of [0, 1, 17, 1000]) {
            const whole = await (await chat(sim, {}, { 'x-sim-output-tokens': String(n) })).json();
            assert.equal(whole.usage.completion_tokens, n);
            assert.equal(whole.choices[0].finish_reason, 'stop');
            const { events } = await chatStream(sim, {}, { 'x-sim-output-tokens': String(n) });
            assert.equal(chunksOf(events).at(-1).usage.completion_tokens, n);
            assert.equal(textOf(events), whole.choices[0].message.content);
        }
        assert.equal((await chat(sim, {}, { 'x-sim-output-tokens': '-1' })).status, 400);
    });

    test('echoes text byte for byte, streamed or not', async () => {
        for (const text of [
            'plain', '', ' ', '  two  blanks ', 'Grüße, 世界 🌊👩‍👩‍👧 e\u0301', 'quote " back \\ slash', 'tab\tnewline\nnul\u0000 end',
            'a ]] b', '\u2028 \ud7ff \uffff', 'data: [DONE]\n\n',
        ]) {
            const asked = [{ role: 'user', content: `Say [[echo:${text}]]` }];
            const whole = await client.chat.completions.create({ model: 'm', messages: asked });
            assert.equal(whole.choices[0].message.content, text);
            const { events } = await chatStream(sim, { messages: asked });
            assert.equal(textOf(events), text);
            assert.equal(chunksOf(events).at(-1).usage.completion_tokens, whole.usage.completion_tokens);
        }
    });

    test('a header may order the text too', async () => {
        const { choices } = await (await chat(sim, {}, { 'x-sim-text': 'exactly so' })).json();
        assert.equal(choices[0].message.content, 'exactly so');
    });

    test('ends before a stop sequence, wherever tokens are cut', async () => {
        const asked = [{ role: 'user', content: '[[echo:one two three four]]' }];
        for (const [stop, text] of [
            ['three', 'one two '], [['e t', 'zz'], 'on'], ['one', ''], [['four', 'three'], 'one two '], ['five', 'one two three four'],
        ]) {
            const body = { messages: asked, stop };
            const whole = await (await chat(sim, body)).json();
            assert.equal(whole.choices[0].message.content, text);
            assert.equal(whole.choices[0].finish_reason, 'stop');
            const { events } = await chatStream(sim, body);
            assert.equal(textOf(events), text);
            assert.equal(chunksOf(events).at(-1).usage.completion_tokens, whole.usage.completion_tokens);
        }
    });

    test('gives as many choices as asked, interleaved, and counts them all', async () => {
        const whole = await client.chat.completions.create({ model: 'm', messages, n: 3 });
        assert.deepEqual(whole.choices.map((c) => c.index), [0, 1, 2]);
        assert.equal(new Set(whole.choices.map((c) => c.message.content)).size, 3);
        const words = whole.choices.reduce((n, c) => n + c.message.content.split(' ').length, 0);
        assert.equal(whole.usage.completion_tokens, words);
        const { events } = await chatStream(sim, { n: 3 });
        for (const c of whole.choices) assert.equal(textOf(events, c.index), c.message.content);
        const firsts = chunksOf(events).slice(0, 9).map((c) => c.choices[0].index);
        assert.deepEqual(firsts, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert.equal(chunksOf(events).at(-1).usage.completion_tokens, words);
    });

    test('completes prompts, several at once', async () => {
        const { choices, usage, object } = await client.completions.create({ model: 'm', prompt: ['abcd', 'efghi'], n: 2 });
        assert.equal(object, 'text_completion');
        assert.equal(choices.length, 4);
        assert.equal(usage.prompt_tokens, 3);
        assert.ok(choices.every((c) => c.text.length > 0));
        const one = await client.completions.create({ model: 'm', prompt: 'a long story', seed: 3 });
        assert.ok(one.usage.completion_tokens <= 16); // the default of this API
        let text = '';
        for await (const c of await client.completions.create({ model: 'm', prompt: 'a long story', seed: 3, stream: true }))
            text += c.choices[0]?.text ?? '';
        assert.equal(text, one.choices[0].text);
    });

    test('embeds texts as unit vectors, in both encodings alike', async () => {
        const input = ['river', 'weir', 'river'];
        const packed = await client.embeddings.create({ model: 'text-embedding-3-small', input }); // base64 on the wire
        const plain = await client.embeddings.create({ model: 'text-embedding-3-small', input, encoding_format: 'float' });
        assert.equal(packed.data.length, 3);
        for (let i = 0; i < 3; i++) {
            const v = packed.data[i].embedding;
            assert.equal(v.length, 1536);
            assert.ok(Math.abs(v.reduce((s, x) => s + x * x, 0) - 1) < 1e-5);
            assert.deepEqual(Array.from(v, Math.fround), plain.data[i].embedding.map(Math.fround));
        }
        assert.deepEqual(packed.data[0].embedding, packed.data[2].embedding);
        assert.notDeepEqual(packed.data[0].embedding, packed.data[1].embedding);
        assert.deepEqual(packed.usage, { prompt_tokens: 4, total_tokens: 4 });
        const raw = await (await post(sim, '/v1/embeddings', { model: 'm', input: 'x', dimensions: 3, encoding_format: 'base64' })).json();
        assert.equal(Buffer.from(raw.data[0].embedding, 'base64').length, 12);
    });

    test('answers the Responses API, streamed or not', async () => {
        const whole = await client.responses.create({ model: 'm', input: 'Say [[echo:a river runs]]', instructions: 'Be brief.' });
        assert.equal(whole.output_text, 'a river runs');
        assert.equal(whole.status, 'completed');
        assert.equal(whole.usage.output_tokens, 3);
        const types = [];
        let text = '', last, sequence = 0;
        for await (const event of await client.responses.create({ model: 'm', input: messages, stream: true, max_output_tokens: 4 })) {
            assert.equal(event.sequence_number, sequence++);
            types.push(event.type);
            if (event.type === 'response.output_text.delta') text += event.delta;
            last = event;
        }
        assert.deepEqual(types.slice(0, 4), [
            'response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
        ]);
        assert.equal(last.type, 'response.incomplete');
        assert.equal(last.response.incomplete_details.reason, 'max_output_tokens');
        assert.equal(last.response.usage.output_tokens, 4);
        assert.equal(last.response.output[0].content[0].text, text);
    });

    test('stands in for an Azure resource', async () => {
        const azure = new AzureOpenAI({ endpoint: sim.url, apiKey: 'k', apiVersion: '2024-10-21', deployment: 'my deployment', maxRetries: 0 });
        const { model, choices } = await azure.chat.completions.create({ model: 'ignored', messages, max_tokens: 2 });
        assert.equal(model, 'my deployment');
        assert.equal(choices[0].finish_reason, 'length');
        for (const path of [
            '/openai/v1/chat/completions', '/openai/v1/deployments/d/chat/completions', '/openai/deployments/d/chat/completions?api-version=1',
            '/openai/chat/completions',
        ]) {
            const response = await post(sim, path, { model: 'd', messages });
            assert.equal(response.status, 200, path);
            assert.equal((await response.json()).model, 'd');
        }
        assert.equal((await azure.models.list()).data.length, 3);
    });

    test('refuses in the shape that clients know', async () => {
        for (const [path, body, status, param] of [
            ['/v1/chat/completions', '{', 400, null],
            ['/v1/chat/completions', { model: 'm' }, 400, 'messages'],
            ['/v1/chat/completions', { messages }, 400, 'model'],
            ['/v1/chat/completions', { model: 'm', messages, max_tokens: 0 }, 400, 'max_tokens'],
            ['/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'x'.repeat(600000) }] }, 400, 'messages'],
            ['/v1/embeddings', { model: 'm', input: [] }, 400, 'input'],
            ['/v1/nothing', {}, 404, null],
            ['/chat/completions', {}, 404, null],
            ['/healthz', {}, 405, null],
        ]) {
            const response = await post(sim, path, body);
            assert.equal(response.status, status, path);
            assert.equal(response.headers.get('x-weir-simulated'), 'true');
            const { error } = await response.json();
            assert.ok(error.message && error.type && error.code);
            assert.equal(error.param, param);
        }
        assert.equal((await fetch(`${sim.url}/v1/chat/completions`)).status, 405);
        await assert.rejects(client.chat.completions.create({ model: 'm', messages: [] }), OpenAI.BadRequestError);
    });

    test('lists models, and one of them', async () => {
        assert.deepEqual((await client.models.list()).data.map((m) => m.id), ['gpt-4o', 'gpt-4o-mini', 'text-embedding-3-small']);
        assert.equal((await client.models.retrieve('gpt-4o')).id, 'gpt-4o');
        await assert.rejects(client.models.retrieve('no-such'), OpenAI.NotFoundError);
        assert.equal((await fetch(`${sim.url}/healthz`)).status, 200);
    });

    test('answers requests that were sent ahead, in order', async () => {
        const body = (text) => JSON.stringify({ model: 'm', messages: [{ role: 'user', content: `[[echo:${text}]]` }], stream: true });
        const request = (text) => `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body(text).length}\r\n\r\n${body(text)}`;
        const names = Array.from({ length: 20 }, (_, i) => `answer-${i}`);
        const c = rawConnection(sim.url);
        c.write(names.map(request).join(''));
        for (const name of names) assert.deepEqual([...(await c.response()).body.matchAll(/"content":"(answer-\d+)"/g)].map((m) => m[1]), [name]);
        c.destroy();
    });

    test('a reader that does not read is waited for', async () => {
        const { hostname, port } = new URL(sim.url);
        const socket = net.connect(Number(port), hostname);
        socket.pause();
        const body = JSON.stringify({ model: 'm', messages, stream: true });
        const before = (await sim.stats()).output_tokens;
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-sim-output-tokens: 200000\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        let held = await until(async () => {
            const now = await sim.stats();
            return now.active === 1 && now.output_tokens > before && now;
        });
        for (let last = -1; last !== held.output_tokens; held = await sim.stats()) {
            last = held.output_tokens;
            await delay(200);
        }
        // A simulator that got no time stood still as well, and goes on: what waits for its reader decodes nothing.
        held = await until(async () => {
            const now = await sim.stats();
            return now.decoding === 0 && now;
        });
        assert.ok(held.output_tokens - before < 150000, 'it wrote without end');
        assert.equal(held.active, 1);
        let n = 0;
        socket.on('data', (d) => (n += d.toString().split('"content":"').length - 1));
        socket.resume();
        await once(socket, 'end');
        await until(async () => (await sim.stats()).active === 0);
        assert.equal((await sim.stats()).output_tokens - before, 200000);
    });

    test('reset zeroes the statistics', async () => {
        assert.ok((await sim.stats()).requests > 0);
        const response = await fetch(`${sim.url}/sim/reset`, { method: 'POST' });
        assert.equal((await response.json()).requests, 0);
    });
});

describe('faults on demand', () => {
    let sim, client;
    before(async () => {
        sim = await spawnSimulator(null, '--profile', 'instant');
        client = new OpenAI({ baseURL: `${sim.url}/v1`, apiKey: 'any', maxRetries: 0 });
    });
    after(() => sim?.stop());

    const order = (fault) => ({ 'x-sim-fault': fault });

    test('429 says when to come back, or does not', async () => {
        const soon = await chat(sim, {}, order('429;retry-after-ms=43'));
        assert.equal(soon.status, 429);
        assert.equal(soon.headers.get('retry-after-ms'), '43');
        assert.equal(soon.headers.get('retry-after'), '1');
        const never = await chat(sim, {}, order('429;retry=none'));
        assert.equal(never.status, 429);
        assert.equal(never.headers.get('retry-after'), null);
        await assert.rejects(client.chat.completions.create({ model: 'm', messages }, { headers: order('429') }), OpenAI.RateLimitError);
    });

    test('500 and 503 are errors in the known shape', async () => {
        for (const status of [500, 503]) {
            const response = await chat(sim, { stream: true }, order(String(status)));
            assert.equal(response.status, status);
            assert.ok((await response.json()).error.message);
        }
    });

    test('an unknown fault is refused', async () => {
        const response = await chat(sim, {}, order('429,no-such'));
        assert.equal(response.status, 400);
        assert.match((await response.json()).error.message, /no-such/);
    });

    test('slow-start delays the first byte', async () => {
        const start = performance.now();
        await chat(sim, {}, order('slow-start;ms=150'));
        assert.ok(performance.now() - start >= 149);
    });

    test('stall goes silent after so many tokens and keeps the connection', async () => {
        const response = await chat(sim, { stream: true }, order('stall;after=4'));
        const reader = response.body.getReader();
        let text = '';
        const deltas = () => text.match(/"delta":\{"content":/g)?.length ?? 0;
        const idle = Symbol('idle');
        for (;;) {
            const next = reader.read();
            const piece = await (deltas() < 4 ? next : Promise.race([next, delay(150).then(() => idle)]));
            if (piece === idle) break;
            assert.equal(piece.done, false);
            text += new TextDecoder().decode(piece.value);
        }
        assert.equal(deltas(), 4);
        assert.equal((await sim.stats()).active, 1);
        await reader.cancel();
        await until(async () => (await sim.stats()).active === 0);
    });

    test('disconnect cuts the stream after so many tokens, and a body midway', async () => {
        const { events, error } = await readSse(await chat(sim, { stream: true }, order('disconnect;after=2')));
        assert.ok(error);
        assert.equal(chunksOf(events).filter((c) => c.choices[0].delta.content).length, 2);
        const response = await chat(sim, {}, order('disconnect'));
        assert.equal(response.status, 200);
        await assert.rejects(response.text());
        const half = rawConnection(sim.url);
        const body = { model: 'm', input: 'x', dimensions: 8, encoding_format: 'float' };
        half.write(requestBytes('/v1/embeddings', body, { headers: { ...order('disconnect'), 'content-type': 'application/json' } }));
        await until(half.hasEnded);
        half.destroy();
        assert.match(half.bytes().toString(), /\r\n\r\n\{"object":"list","data":\[\{"object":"embedding"/);
    });

    test('error ends the stream with an error event and no [DONE]', async () => {
        const { events, error } = await readSse(await chat(sim, { stream: true }, order('error;after=2')));
        assert.equal(error, null);
        assert.ok(JSON.parse(events.at(-1).data).error.message);
        assert.ok(!events.some((e) => e.data === '[DONE]'));
        const stream = await client.chat.completions.create({ model: 'm', messages, stream: true }, { headers: order('error') });
        await assert.rejects(async () => {
            for await (const _ of stream);
        }, OpenAI.APIError);
        assert.equal((await chat(sim, {}, order('error'))).status, 500);
    });

    test('reset closes before the first byte', async () => {
        await assert.rejects(chat(sim, {}, order('reset')));
        const body = JSON.stringify({ model: 'm', messages });
        const { bytes, isClosed } = await rawExchange(
            sim.url, `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-sim-fault: reset\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        assert.equal(bytes.length, 0);
        assert.ok(isClosed);
    });

    test('garbage is no JSON, and garbage;http no HTTP', async () => {
        await assert.rejects((await chat(sim, {}, order('garbage'))).json(), SyntaxError);
        const { events } = await readSse(await chat(sim, { stream: true }, order('garbage')));
        assert.equal(events.filter((e) => e.data !== '[DONE]').filter((e) => {
            try {
                JSON.parse(e.data);
                return false;
            } catch {
                return true;
            }
        }).length, 1);
        await assert.rejects(chat(sim, {}, order('garbage;http')));
    });

    test('no-usage keeps silent about usage', async () => {
        assert.equal((await (await chat(sim, {}, order('no-usage'))).json()).usage, undefined);
        const { text, events } = await chatStream(sim, {}, order('no-usage'));
        assert.ok(!text.includes('usage'));
        assert.equal(events.at(-1).data, '[DONE]');
    });

    test('usage-every counts along in every chunk', async () => {
        const { events } = await readSse(await chat(sim, { stream: true, max_tokens: 5 }, order('usage-every')));
        const counts = chunksOf(events).map((c) => c.usage.completion_tokens);
        assert.deepEqual(counts, [0, 1, 2, 3, 4, 5, 5, 5]);
    });

    test('a head goes out before the first text does, so that other answers may begin', async (t) => {
        const paced = await spawnSimulator(t, '--profile', 'fast');
        const completion = (fault) => post(paced, '/v1/completions', { model: 'm', prompt: 'x', stream: true, max_tokens: 16 }, order(fault));
        const silent = await completion('stall;after=0'); // no text ever
        const bursts = await Promise.all(Array.from({ length: 8 }, () => completion('burst;n=8')));
        for (const response of [silent, ...bursts]) assert.equal(response.status, 200);
        for (const response of bursts) assert.equal((await readSse(response)).events.at(-1).data, '[DONE]');
        await silent.body.cancel();
    });

    test('burst puts several tokens in a chunk and counts them all', async () => {
        const { events } = await chatStream(sim, { max_tokens: 10 }, order('burst;n=4'));
        const contents = chunksOf(events).flatMap((c) => c.choices).map((c) => c.delta.content).filter(Boolean);
        assert.deepEqual(contents.map((c) => c.trim().split(' ').length), [4, 4, 2]);
        assert.equal(chunksOf(events).at(-1).usage.completion_tokens, 10);
    });

    test('split and crlf change the bytes, not what they say', async () => {
        const straight = await chatStream(sim, { seed: 1 });
        for (const fault of ['split', 'crlf', 'split,crlf']) {
            const { events, text } = await chatStream(sim, { seed: 1 }, order(fault));
            assert.equal(textOf(events), textOf(straight.events));
            assert.equal(events.length, straight.events.length);
            assert.equal(text.includes('\r\n\r\n'), fault.includes('crlf'));
            const stripped = (e) => ({ ...JSON.parse(e.data), id: 0, created: 0 });
            for (let i = 0; i < events.length - 1; i++) assert.deepEqual(stripped(events[i]), stripped(straight.events[i]));
        }
    });

    test('split writes end within events', async () => {
        const connection = rawConnection(sim.url);
        const body = { model: 'gpt-4o', messages, stream: true, max_tokens: 50 };
        connection.write(requestBytes('/v1/chat/completions', body, { headers: order('split') }));
        const { pieces } = await connection.response();
        connection.destroy();
        const texts = pieces.map(String).filter(Boolean);
        assert.ok(texts.length > 50, `${texts.length} writes`);
        assert.deepEqual(texts.filter((text) => text.endsWith('\n\n')), texts.slice(-1));
    });

    test('an option orders faults for a share of all calls', async (t) => {
        const often = await spawnSimulator(t, '--profile', 'instant', '--fault', '503:0.3,crlf', '--fault', 'no-usage');
        let failed = 0;
        for (let i = 0; i < 200; i++) {
            const response = await chat(often, { max_tokens: 1 });
            if (response.status === 503) failed++;
            else assert.equal((await response.json()).usage, undefined);
        }
        assert.ok(failed > 30 && failed < 90, `${failed} of 200`);
        assert.equal((await often.stats()).refused, failed);
    });
});

describe('honest timing', () => {
    test('the first token waits for the prompt and the others for the rate', async (t) => {
        const sim = await spawnSimulator(t, '--prefill-tps', '10000', '--decode-tps', '100', '--base-latency', '20ms');
        const long = [{ role: 'user', content: ' river'.repeat(993) }]; // 1,000 tokens: 100 ms
        await withinTime(async () => {
            const start = performance.now();
            const response = await chat(sim, { stream: true, messages: long, max_tokens: 21 });
            const first = performance.now() - start;
            const { times } = await readSse(response);
            const total = times.at(-1) + first;
            assert.ok(first >= 119, `first byte after ${first} ms`);
            assert.ok(total >= 119 + 199, `everything after ${total} ms`);
            return first < 400 && total < 800 ? null : `first byte after ${first} ms, everything after ${total} ms`;
        });
    });

    test('a time scale makes it faster', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'h100-70b', '--time-scale', '100');
        await withinTime(async () => {
            const start = performance.now();
            await (await chat(sim, { max_tokens: 40 })).json(); // a second and more in life
            const took = performance.now() - start;
            return took < 500 ? null : `${took} ms`;
        });
    });

    test('slots are shared in order and the queue has an end', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--slots', '1', '--queue', '2');
        // Each keeps its slot until it is left.
        const order = [];
        const calls = [];
        for (let i = 0; i < 3; i++) {
            calls.push(chat(sim, { stream: true }, { 'x-sim-fault': 'stall' }).then((r) => (order.push(i), r)));
            await until(async () => (await sim.stats()).requests === i + 1);
        }
        assert.deepEqual([(await sim.stats()).active, (await sim.stats()).queued], [1, 2]);
        const refused = await chat(sim, { max_tokens: 1 });
        assert.equal(refused.status, 429);
        assert.ok(Number(refused.headers.get('retry-after-ms')) >= 1);
        for (const [i, call] of calls.entries()) {
            const response = await call;
            assert.equal(response.status, 200);
            assert.deepEqual(order, [0, 1, 2].slice(0, i + 1));
            assert.equal((await sim.stats()).queued, 2 - i);
            await response.body.cancel();
        }
        await until(async () => (await sim.stats()).active === 0);
    });

    test('above the knee every stream becomes slower', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--decode-tps', '200', '--knee', '1');
        const timed = async (n) => {
            const start = performance.now();
            await Promise.all(Array.from({ length: n }, async () => (await chat(sim, {}, { 'x-sim-output-tokens': '30' })).json()));
            return performance.now() - start;
        };
        await withinTime(async () => {
            const alone = await timed(1), four = await timed(4);
            return four > 2.5 * alone ? null : `${alone} ms alone, ${four} ms for four`;
        });
    });

    test('beginnings of prompts are cached when asked, in steps, and cost no time', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--prefill-tps', '10000', '--prompt-cache');
        const ask = async (letter, question, model = 'm') => {
            const system = { role: 'system', content: letter.repeat(4 * 1200) };
            const start = performance.now();
            const { usage } = await (await chat(sim, { model, max_tokens: 1, messages: [system, { role: 'user', content: question }] })).json();
            return { cached: usage.prompt_tokens_details.cached_tokens, ms: performance.now() - start };
        };
        await withinTime(async (attempt) => {
            const letter = 'abcdefghijklmnop'[attempt];
            const first = await ask(letter, 'one');
            assert.equal(first.cached, 0);
            assert.ok(first.ms >= 119);
            const second = await ask(letter, 'two');
            assert.equal(second.cached, 1024 + 128); // of the 1,203 that both have
            assert.equal((await ask(letter, 'two', 'another model')).cached, 0);
            return second.ms < first.ms / 2 ? null : `${first.ms} ms, and ${second.ms} ms`;
        });
        const whole = await (await chat(sim, { max_tokens: 1 })).json();
        assert.equal(whole.usage.prompt_tokens_details.cached_tokens, 0);
    });

    test('a client that leaves frees its slot at once', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--decode-tps', '50', '--slots', '1');
        const abort = new AbortController();
        const response = await fetch(`${sim.url}/v1/chat/completions`, {
            method: 'POST', signal: abort.signal, headers: { 'x-sim-output-tokens': '10000' },
            body: JSON.stringify({ model: 'm', messages, stream: true }),
        });
        const next = chat(sim, { max_tokens: 1 });
        await until(async () => (await sim.stats()).queued === 1);
        abort.abort();
        await response.text().catch(() => {});
        assert.equal((await next).status, 200);
        const stats = await sim.stats();
        assert.equal(stats.cancelled, 1);
        assert.equal(stats.active, 0);
        assert.ok(stats.last_cancel_tokens < 100);
        const tokens = stats.output_tokens;
        await delay(60);
        assert.equal((await sim.stats()).output_tokens, tokens);
    });
});

describe('the command', () => {
    test('says that it is a simulation', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant');
        await until(() => /simulation/.test(sim.stderr())); // another pipe than the line that it is ready
    });

    test('wants its key when it has one', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--api-key', 'secret');
        assert.equal((await chat(sim)).status, 401);
        assert.equal((await chat(sim, {}, { authorization: 'Bearer wrong' })).status, 401);
        assert.equal((await chat(sim, {}, { authorization: 'Bearer secret' })).status, 200);
        assert.equal((await chat(sim, {}, { 'api-key': 'secret' })).status, 200);
        assert.equal((await fetch(`${sim.url}/v1/models`)).status, 401);
        assert.equal((await fetch(`${sim.url}/healthz`)).status, 200);
    });

    test('knows only its models when it is strict', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--models', 'a, b', '--strict-models');
        assert.equal((await chat(sim, { model: 'b' })).status, 200);
        assert.equal((await chat(sim, { model: 'c' })).status, 404);
        assert.equal((await (await fetch(`${sim.url}/v1/models`)).json()).data.length, 2);
    });

    test('finishes what it has begun on SIGTERM and ends with 0', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--decode-tps', '100');
        const stalled = await chat(sim, { stream: true }, { 'x-sim-fault': 'stall' });
        const response = await chat(sim, { stream: true }, { 'x-sim-output-tokens': '150' });
        await until(async () => (await sim.stats()).active === 2);
        sim.signal('SIGTERM');
        const { events, error } = await readSse(response);
        assert.equal(error, null);
        assert.equal(events.at(-1).data, '[DONE]');
        assert.ok((await readSse(stalled)).error);
        assert.deepEqual(await sim.ended, { code: 0, signal: null });
    });

    test('does not wait on the second SIGTERM', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--decode-tps', '1');
        const response = await chat(sim, { stream: true }, { 'x-sim-output-tokens': '1000' });
        sim.signal('SIGTERM');
        // Two that come together count as one: the first was heard when nobody is let in any more.
        await until(() => fetch(`${sim.url}/healthz`, { headers: { connection: 'close' } }).then(() => false, () => true));
        sim.signal('SIGTERM');
        assert.deepEqual(await sim.ended, { code: 0, signal: null });
        assert.ok((await readSse(response)).error);
    });

    test('what it has answered still reaches a slow reader after SIGTERM', async (t) => {
        const sim = await spawnSimulator(t, '--profile', 'instant', '--context', '10000000');
        const { hostname, port } = new URL(sim.url);
        const socket = net.connect(Number(port), hostname);
        socket.pause();
        const text = 'x'.repeat(6 << 20); // more than the kernel takes at once, which is 4 MB, and soon read
        const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: `[[echo:${text}]]` }] });
        socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        await until(async () => (await sim.stats()).completed === 1);
        sim.signal('SIGTERM');
        await delay(100);
        let n = 0;
        socket.on('data', (d) => (n += d.length));
        socket.resume();
        await once(socket, 'end');
        assert.ok(n > text.length, `${n} bytes came`);
        assert.deepEqual(await sim.ended, { code: 0, signal: null });
    });

    test('refuses options that make no sense', async () => {
        for (const [args, status] of [
            [['--profile', 'nobody'], 1], [['--fault', 'no-such'], 1], [['--listen', 'nowhere'], 1], [['--listen', '127.0.0.1:99999'], 1],
            [['--time-scale', '0'], 1], [['--decode-tps', '-1'], 2], [['--no-such'], 2], [['word'], 2],
        ]) {
            const { code, stderr } = await runWeir(['simulate', ...args]);
            assert.equal(code, status, args.join(' '));
            assert.ok(stderr.includes(args.at(-1).replace('--', '')) || stderr.includes(args[0].slice(2)), stderr);
        }
    });

    test('says which address is taken', async (t) => {
        const server = net.createServer();
        t.after(() => server.close());
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address();
        const { code, stderr } = await runWeir(['simulate', '--listen', `127.0.0.1:${port}`]);
        assert.equal(code, 1);
        assert.ok(stderr.includes(String(port)));
    });
});
