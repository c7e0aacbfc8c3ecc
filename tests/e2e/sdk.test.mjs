// sdk.test.mjs - the unmodified `openai` package, every major that people use, through `weir serve`.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as newest from 'openai';
import * as v4 from 'openai-v4';
import * as v5 from 'openai-v5';
import * as v6 from 'openai-v6';
import {
    apiKey, chatCall, chatTarget, deployment, rawConnection, requestBytes, resourceSet, spawnGateway, spawnSimulator, until, usualDeployments,
} from './support.mjs';

const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const whole = /^\d+$/;
// Every width of UTF-8, what JSON must escape, and what looks like the framing of an event.
const awkward = 'Ünï-çødé 漢字 🦫🏞️ "quoted" \\back\\ \u2028\u0001\t</script> data: [DONE]\r\n\r\nevent: x {"usage":{"prompt_tokens":1}}';

let sim, gateway;
before(async () => {
    sim = await spawnSimulator(null, '--profile', 'instant');
    gateway = await spawnGateway(null, {
        resources: resourceSet([sim.url], [
            ...usualDeployments(),
            deployment('my.own_name-1'),
            deployment('exact'),
            // A second of depth, so that one answer fills it: 50 PTUs serve 2,083 input tokens a second.
            deployment('small', { weir: { depthWindowMs: 1000 } }),
            deployment('retry', { weir: { depthWindowMs: 1000 } }),
        ]),
    });
});
after(async () => {
    const end = await gateway.stop();
    await sim.stop();
    assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
});

const azure = ({ AzureOpenAI }, options = {}) =>
    new AzureOpenAI({ endpoint: gateway.url, apiKey, apiVersion: '2024-10-21', maxRetries: 0, ...options });
const openai = ({ default: OpenAI }, path = '/openai/v1', options = {}) =>
    new OpenAI({ baseURL: gateway.url + path, apiKey, maxRetries: 0, ...options });

const ask = (content, more = {}) => ({ model: 'ptu', messages: [{ role: 'user', content }], ...more });
const echo = (text) => ask(`Say it: [[echo:${text}]]`);

function assertProvisioned(headers, name) {
    assert.match(headers.get('azure-openai-deployment-utilization'), /^\d+\.\d%$/);
    for (const [header] of headers) assert.ok(!header.startsWith('x-ratelimit-'), header);
    assertCommon(headers, name);
}

function assertStandard(headers, name) {
    for (const what of ['limit', 'remaining', 'reset'])
        for (const of of ['requests', 'tokens'])
            assert.match(headers.get(`x-ratelimit-${what}-${of}`), whole, `${what}-${of}`);
    assert.equal(headers.get('azure-openai-deployment-utilization'), null);
    assertCommon(headers, name);
}

function assertCommon(headers, name) {
    assert.match(headers.get('apim-request-id'), guid);
    assert.match(headers.get('x-request-id'), guid);
    assert.equal(headers.get('x-ms-region'), 'East US');
    assert.equal(headers.get('x-ms-deployment-name'), name);
    assert.equal(headers.get('x-ms-client-request-id'), 'Not-Set');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.ok(headers.get('strict-transport-security'));
}

async function collect(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
}
const contentOf = (chunks) => chunks.flatMap((c) => c.choices).map((c) => c.delta?.content ?? c.text ?? '').join('');

const clients = [
    ['AzureOpenAI 7', () => azure(newest)],
    ['AzureOpenAI 6', () => azure(v6)],
    ['AzureOpenAI 5', () => azure(v5)],
    ['AzureOpenAI 4', () => azure(v4)],
    ['AzureOpenAI 7 with a deployment of its own', () => azure(newest, { deployment: 'ptu' })],
    ['AzureOpenAI 7 with baseURL .../openai/v1', () => azure(newest, { endpoint: undefined, baseURL: `${gateway.url}/openai/v1/` })],
    ['OpenAI 7 on /openai/v1', () => openai(newest)],
    ['OpenAI 7 on /v1', () => openai(newest, '/v1')],
    ['OpenAI 6 on /openai/v1', () => openai(v6)],
    ['OpenAI 5 on /v1', () => openai(v5, '/v1')],
    ['OpenAI 4 on /openai/v1', () => openai(v4)],
];

for (const [name, make] of clients) {
    describe(name, () => {
        let client;
        before(() => (client = make()));

        test('gets a chat completion byte-true, with usage and headers', async () => {
            const { data, response } = await client.chat.completions.create(echo(awkward)).withResponse();
            assert.equal(data.choices[0].message.content, awkward);
            assert.equal(data.object, 'chat.completion');
            assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
            assert.ok(data.usage.prompt_tokens > 0 && data.usage.completion_tokens > 0);
            assertProvisioned(response.headers, 'ptu');
            assert.match(data._request_id, guid);
        });

        test('gets a streamed chat byte-true, without the usage chunk that it did not ask for', async () => {
            const { data, response } = await client.chat.completions.create({ ...echo(awkward), stream: true }).withResponse();
            const chunks = await collect(data);
            assert.equal(contentOf(chunks), awkward);
            assertProvisioned(response.headers, 'ptu');
            assert.equal(response.headers.get('content-type').split(';')[0], 'text/event-stream');
            for (const c of chunks) assert.ok(!c.usage && c.choices.length, JSON.stringify(c));
            assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
        });

        test('gets the usage chunk of a stream when it asks', async () => {
            const chunks = await collect(await client.chat.completions.create(
                { ...echo('one two three'), stream: true, stream_options: { include_usage: true } }));
            assert.equal(contentOf(chunks), 'one two three');
            assert.deepEqual(chunks.at(-1).choices, []);
            const plain = await client.chat.completions.create(echo('one two three'));
            assert.deepEqual(
                [chunks.at(-1).usage.prompt_tokens, chunks.at(-1).usage.completion_tokens],
                [plain.usage.prompt_tokens, plain.usage.completion_tokens]);
            assert.equal(chunks.filter((c) => c.usage).length, 1);
        });
    });
}

describe('the other operations', () => {
    for (const [name, make] of clients.slice(0, 1).concat(clients.slice(3, 4), clients.slice(6, 8))) {
        test(`${name} completes a prompt, streamed and not`, async () => {
            const client = make();
            const prompt = { model: 'ptu', prompt: 'Say it: [[echo:brook, beck, burn]]', max_tokens: 50 };
            const { choices, usage } = await client.completions.create(prompt);
            assert.equal(choices[0].text, 'brook, beck, burn');
            assert.ok(usage.completion_tokens > 0);
            const chunks = await collect(await client.completions.create({ ...prompt, stream: true }));
            assert.equal(contentOf(chunks), 'brook, beck, burn');
            for (const c of chunks) assert.ok(!c.usage);
        });

        test(`${name} gets embeddings, as base64 unless it asks for floats`, async () => {
            const client = make();
            const of = { model: 'embed', input: ['weir', 'river'] };
            const { data, response } = await client.embeddings.create(of).withResponse();
            assert.equal(data.data.length, 2);
            assertStandard(response.headers, 'embed');
            assert.ok(data.usage.prompt_tokens > 0);
            const floats = await client.embeddings.create({ ...of, encoding_format: 'float' });
            const near = (a, b) => Math.abs(a - b) < 1e-6;
            data.data.forEach((d, i) => {
                assert.ok(d.embedding.length > 100 && d.embedding.length === floats.data[i].embedding.length);
                assert.ok([...d.embedding].every((x, k) => near(x, floats.data[i].embedding[k])), `vector ${i}`);
            });
        });
    }

    for (const [name, make] of clients.slice(0, 3).concat(clients.slice(6, 8))) {
        test(`${name} gets a response, streamed and not`, async () => {
            const client = make();
            const input = { model: 'ptu', input: `[[echo:${awkward}]]` };
            const { data, response } = await client.responses.create(input).withResponse();
            assert.equal(data.output_text, awkward);
            assert.equal(data.status, 'completed');
            assert.ok(data.usage.output_tokens > 0);
            assertProvisioned(response.headers, 'ptu');
            const events = await collect(await client.responses.create({ ...input, stream: true }));
            assert.equal(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), awkward);
            assert.equal(events[0].type, 'response.created');
            assert.equal(events.at(-1).type, 'response.completed');
            assert.equal(events.at(-1).response.usage.output_tokens, data.usage.output_tokens);
        });
    }

    for (const [name, make] of clients) {
        test(`${name} lists the deployments as models`, async () => {
            const { data } = await make().models.list();
            assert.deepEqual(data.map((m) => m.id).sort(), ['embed', 'exact', 'my.own_name-1', 'ptu', 'retry', 'small', 'standard']);
            assert.ok(data.every((m) => m.object === 'model'));
        });
    }

    test('deployments of the old kind are listed', async () => {
        const response = await fetch(`${gateway.url}/openai/deployments?api-version=2022-12-01`, { headers: { 'api-key': apiKey } });
        const { data } = await response.json();
        assert.ok(data.some((d) => d.id === 'ptu' && d.model === 'gpt-4o' && d.status === 'succeeded'));
    });

    test("a deployment's name may be percent-encoded and in any case", async () => {
        for (const to of ['my.own_name-1', 'my%2Eown%5Fname-1', 'My.Own_Name-1']) {
            const response = await chatCall(gateway, echo('fine'), { to });
            assert.equal(response.status, 200, to);
            assert.equal(response.headers.get('x-ms-deployment-name'), 'my.own_name-1');
        }
        assert.equal((await chatCall(gateway, echo('fine'), { to: 'my%2own_name-1' })).status, 404);
        assert.equal((await chatCall(gateway, echo('fine'), { to: 'my.own_name-1%00' })).status, 404);
    });

    test('the deployment in the path counts, not the model in the body', async () => {
        const response = await chatCall(gateway, { ...echo('path'), model: 'embed' });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get('x-ms-deployment-name'), 'ptu');
    });

    test('the model server hears of its own model name and not of our key', async () => {
        const { data } = await azure(newest).chat.completions.create(echo('x')).withResponse();
        assert.match(data.model, /^gpt-4o/);
    });

    test('several choices of a stream each arrive whole', async () => {
        const chunks = await collect(await openai(newest).chat.completions.create({ ...ask('two ways'), n: 2, stream: true, max_tokens: 9 }));
        const { choices } = await openai(newest).chat.completions.create({ ...ask('two ways'), n: 2, max_tokens: 9 });
        for (const i of [0, 1]) {
            const text = chunks.flatMap((c) => c.choices).filter((c) => c.index === i).map((c) => c.delta.content ?? '').join('');
            assert.equal(text, choices[i].message.content);
        }
    });

    test("the client's own request id comes back", async () => {
        const response = await chatCall(gateway, {}, { headers: { 'x-ms-client-request-id': 'mine-1' } });
        assert.equal(response.headers.get('x-ms-client-request-id'), 'mine-1');
    });

    test('a standard deployment tells its limits on a stream too', async () => {
        const { data, response } = await azure(newest).chat.completions.create({ ...echo('x'), model: 'standard', stream: true }).withResponse();
        assertStandard(response.headers, 'standard');
        assert.equal(response.headers.get('x-ratelimit-limit-tokens'), '100000');
        assert.equal(response.headers.get('x-ratelimit-limit-requests'), '600');
        await collect(data);
    });
});

describe('errors come as the classes that callers catch', () => {
    for (const [name, sdk] of [['7', newest], ['6', v6], ['5', v5], ['4', v4]]) {
        test(`openai ${name}`, async () => {
            const { AuthenticationError, BadRequestError, NotFoundError, RateLimitError, InternalServerError } = sdk;
            for (const make of [(o) => azure(sdk, o), (o) => openai(sdk, '/openai/v1', o)]) {
                const expectError = async (promise, kind, status, code) => {
                    const e = await promise.then(() => assert.fail('no error'), (e) => e);
                    assert.ok(e instanceof kind, `${e.constructor.name}: ${e.message}`);
                    assert.equal(e.status, status);
                    assert.equal(e.code, code);
                    const header = (n) => (typeof e.headers.get === 'function' ? e.headers.get(n) : e.headers[n]);
                    assert.match(header('apim-request-id'), guid);
                    return { e, header };
                };
                await expectError(make({ apiKey: 'wrong-key-wrong-key' }).chat.completions.create(echo('x')), AuthenticationError, 401, '401');
                const { e } = await expectError(
                    make().chat.completions.create({ ...echo('x'), model: 'nobody' }), NotFoundError, 404, 'DeploymentNotFound');
                assert.match(e.message, /The API deployment for this resource does not exist/);
                await expectError(make().chat.completions.create({ model: 'ptu', messages: 'text' }), BadRequestError, 400, 'invalid_request');
                await expectError(make().embeddings.create({ model: 'ptu', input: 'x' }), BadRequestError, 400, 'OperationNotSupported');
                // The deployment is filled by an estimate that no depth can hold, of a call that stalls.
                const holder = new AbortController();
                const held = await chatCall(gateway, { max_tokens: 50000, stream: true },
                    { signal: holder.signal, headers: { 'x-sim-fault': 'stall' } });
                const { header } = await expectError(make().chat.completions.create(echo('x')), RateLimitError, 429, '429');
                assert.match(header('retry-after-ms'), whole);
                assert.ok(Number(header('retry-after-ms')) >= 1);
                assert.equal(Number(header('retry-after')), Math.ceil(Number(header('retry-after-ms')) / 1000));
                assert.match(header('azure-openai-deployment-utilization'), /^1\d\d\.\d%$/);
                holder.abort();
                await held.text().catch(() => {});
                await untilIdle();
                await expectError(
                    make({ defaultHeaders: { 'x-sim-fault': 'reset' } }).chat.completions.create(echo('x')),
                    InternalServerError, 502, 'UpstreamFailed');
            }
        });
    }
});

async function untilIdle(name = 'ptu') {
    await until(async () => (await gateway.debug(name)).inFlight === 0);
}

describe('money', () => {
    test('what is charged is what usage says, and the level is the sum of charges less what drained', async () => {
        const name = 'exact';
        // Enough that the bucket never runs empty in this test: from then on its mark moves by charges alone.
        await (await chatCall(gateway, { max_tokens: 30000 }, { to: name, headers: { 'x-sim-output-tokens': '30000' } })).arrayBuffer();
        await untilIdle(name);
        const first = await gateway.debug(name);
        assert.ok(first.levelMt > 0);
        const client = azure(newest);
        let tokens = 0;
        for (let i = 0; i < 10; i++) {
            const more = [{}, { max_tokens: 10 }, { max_completion_tokens: 700 }, { n: 3, max_tokens: 5 }, {}][i % 5];
            const body = { ...ask(`question ${i} ${'w '.repeat(i * 20)}`, more), model: name };
            const { usage } = i < 5
                ? await client.chat.completions.create(body)
                : (await collect(await client.chat.completions.create({ ...body, stream: true, stream_options: { include_usage: true } }))).at(-1);
            tokens += usage.prompt_tokens + 3 * usage.completion_tokens;
        }
        await untilIdle(name);
        const last = await gateway.debug(name);
        assert.ok(last.levelMt > 0, 'the bucket ran empty; the test is too slow for its numbers');
        assert.equal(last.finishMt - first.finishMt, tokens * 1000);
        assert.equal(last.chargedMt - first.chargedMt, tokens * 1000);
        assert.equal(last.levelMt, last.finishMt - last.servedMt);
        const mine = (await gateway.settled(11, name)).slice(1);
        assert.equal(mine.reduce((sum, l) => sum + l.chargeMt, 0), tokens * 1000);
        for (const l of mine) {
            assert.equal(l.counts, 'reported');
            assert.equal(l.chargeMt, (l.promptTokens - l.cachedTokens) * 1000 + l.outputTokens * 3000);
            assert.equal(l.correctionMt, l.chargeMt - l.estimateMt);
            assert.equal(l.levelAfterMt, l.levelBeforeMt + l.estimateMt);
        }
    });

    test('utilization is the level over the depth, rounded down, at the moment of admission', async () => {
        const { response } = await azure(newest).chat.completions.create({ ...echo('x'), model: 'exact' }).withResponse();
        const said = response.headers.get('azure-openai-deployment-utilization');
        const id = response.headers.get('apim-request-id');
        const line = await until(() => gateway.lines().find((l) => l.id === id));
        const { depthMt } = await gateway.debug('exact');
        assert.equal(line.utilizationPpm, Math.floor(line.levelAfterMt * 1e6 / depthMt));
        assert.equal(said, `${Math.floor(line.utilizationPpm / 10000)}.${Math.floor(line.utilizationPpm / 1000) % 10}%`);
    });

    // An answer of 2,000 tokens is 6,000 of work in a depth of 2,083: 1.9 s until there is room.
    const fill = async (to) => {
        const response = await chatCall(gateway, { max_tokens: 2000 }, { to, headers: { 'x-sim-output-tokens': '2000' } });
        assert.equal(response.status, 200);
        await response.arrayBuffer();
        await untilIdle(to);
    };

    test('retry-after-ms is true: every refusal names the same moment, and no call is admitted before it', async () => {
        // Once more where the machine was too slow to ask often before there was room; what was said holds each time.
        for (let attempt = 1, refused = 0; refused <= 20; attempt++) {
            assert.ok(attempt <= 10, `${refused} refusals`);
            refused = 0;
            await until(async () => {
                const { levelMt, depthMt } = await gateway.debug('small');
                return levelMt < depthMt;
            });
            await fill('small');
            const connection = rawConnection(gateway.url);
            const bytes = requestBytes(chatTarget('small'), { messages: [{ role: 'user', content: 'x' }], max_tokens: 1 });
            let earliest = -Infinity, latest = Infinity, lastRefusal = -Infinity, admitted;
            for (;;) {
                const sent = performance.now();
                connection.write(bytes);
                const answer = await connection.response();
                const received = performance.now();
                if (answer.status === 200) {
                    admitted = received;
                    break;
                }
                assert.equal(answer.status, 429);
                const wait = Number(answer.headers['retry-after-ms']);
                // The server read its clock between the two; the wait is rounded up to whole ms.
                earliest = Math.max(earliest, sent + wait - 1);
                latest = Math.min(latest, received + wait);
                lastRefusal = sent;
                refused++;
            }
            connection.destroy();
            assert.ok(earliest <= latest, `refusals disagree: not before ${earliest}, not after ${latest}`);
            assert.ok(lastRefusal <= latest, `refused at ${lastRefusal}, though there was room from ${latest} on`);
            assert.ok(admitted >= earliest, `admitted at ${admitted}, though there was no room until ${earliest}`);
        }
    });

    for (const [name, sdk] of [['7', newest], ['4', v4]]) {
        test(`the retry of openai ${name} is admitted when it comes at retry-after-ms and nobody else came`, async () => {
            for (let attempt = 1; ; attempt++) {
                const calls = [];
                // Watches when its requests leave and its answers come; changes nothing.
                const watch = async (...args) => {
                    const call = { sent: performance.now() };
                    calls.push(call);
                    const response = await fetch(...args);
                    call.received = performance.now();
                    call.status = response.status;
                    call.wait = Number(response.headers.get('retry-after-ms'));
                    return response;
                };
                const client = azure(sdk, { fetch: watch, maxRetries: 1 });
                const before = await gateway.debug('retry');
                await fill('retry');
                const answer = await client.chat.completions.create({ ...echo('at last'), model: 'retry', max_tokens: 5 }).catch((e) => e);
                // Once more where the machine was too slow to find it full, or a timer of Node went off early, by up to 1 ms, or late.
                const waited = calls.length === 2 ? calls[1].sent - calls[0].received : NaN;
                const isInTime = waited >= calls[0].wait && waited < calls[0].wait + 200;
                if (!isInTime && attempt < 10) {
                    await until(async () => (await gateway.debug('retry')).levelMt === 0);
                    continue;
                }
                assert.ok(isInTime, `${waited} ms instead of ${calls[0].wait}, in ${calls.length} calls`);
                assert.equal(calls[0].status, 429);
                assert.equal(calls[1].status, 200, `after ${waited} of ${calls[0].wait} ms`);
                assert.equal(answer.choices[0].message.content, 'at last');
                await untilIdle('retry');
                const end = await gateway.debug('retry');
                assert.deepEqual([end.admitted - before.admitted, end.refused - before.refused], [2, 1]);
                return;
            }
        });
    }
});
