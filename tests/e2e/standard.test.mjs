// standard.test.mjs - deployments with limits of tokens and calls a minute: what they admit, refuse and say.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
    apiKey, chatCall, delay, deployment, resourceSet, spawnGateway, spawnSimulator, until,
} from './support.mjs';

const standard = (name, capacity, more = {}) => deployment(name, { sku: 'Standard', capacity, ...more });

let sim, gateway;
before(async () => {
    sim = await spawnSimulator(null, '--profile', 'instant');
    gateway = await spawnGateway(null, {
        resources: resourceSet([sim.url], [
            standard('reach', 10),
            standard('strict', 10, { weir: { standardMode: 'strict' } }),
            standard('alone', 1, { weir: { standardMode: 'strict' } }),
            standard('calls', 10),
            standard('fast', 200),
            standard('exact', 100),
            standard('global', 5, { sku: 'GlobalStandard' }),
            standard('embed', 1, { model: 'text-embedding-3-small' }),
        ]),
    });
});
after(async () => {
    const end = await gateway.stop();
    await sim.stop();
    assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
});

// Spends all tokens of this minute, so that the next call is refused.
async function spend(to) {
    await until(async () => {
        const answer = await call(to, '', { max_tokens: 50000 });
        return answer.status === 429 && answer.error.message.includes('token rate limit');
    }, 30000);
}

// Each deployment's minute begins at a moment of its own; waits until enough of it is left for a test on a busy machine.
async function roomInMinute(to) {
    for (;;) {
        const { headers } = await call(to, '');
        const seconds = Number(headers['x-ratelimit-reset-tokens']);
        if (seconds > 10) return;
        await delay(seconds * 1000);
    }
}

async function call(to, content, more = {}, headers = {}) {
    const response = await chatCall(gateway, { messages: [{ role: 'user', content }], max_tokens: 1, ...more },
        { to, headers: { 'x-sim-output-tokens': '1', ...headers } });
    const text = await response.text();
    return { status: response.status, headers: Object.fromEntries(response.headers), error: text.startsWith('{"error') ? JSON.parse(text).error : null };
}

const limits = ({ headers }) => ['limit-tokens', 'remaining-tokens', 'limit-requests', 'remaining-requests'].map((n) => Number(headers[`x-ratelimit-${n}`]));

describe('a prompt that is too long', () => {
    // gpt-4o with a context of 100 tokens, of which provisioned deployments take 60.
    const shortModel = {
        id: '/providers/Weir.Capacity/models/OpenAI.gpt-4o.2024-08-06',
        properties: { maxContextTokens: 100, maxProvisionedPromptTokens: 60 },
    };
    const words = (n) => 'word '.repeat(n).trim(); // a token each
    let short;
    before(async () => {
        short = await spawnGateway(null, {
            resources: [shortModel, ...resourceSet([sim.url], [deployment('ptu'), standard('tokens', 100)])],
        });
    });
    after(() => short.stop());

    // 3 tokens for the message, 1 for the role, 3 for the reply.
    for (const { to, most, text } of [{ to: 'tokens', most: 93, text: 'maximum context length is 100 tokens' },
        { to: 'ptu', most: 53, text: 'at most 60 tokens' }]) {
        test(`is refused by ${to} when it has a token too many, and charged nothing`, async () => {
            const ask = (n) => chatCall(short, { messages: [{ role: 'user', content: words(n) }], max_tokens: 1 }, { to });
            assert.equal((await ask(most)).status, 200);
            const refused = await ask(most + 1);
            const { error } = await refused.json();
            assert.equal(refused.status, 400);
            assert.deepEqual([error.code, error.type, error.param], ['context_length_exceeded', 'invalid_request_error', 'messages']);
            assert.ok(error.message.includes(text) && error.message.includes(`${most + 8} tokens`), error.message);
            const line = (await short.settled(2, to))[1];
            assert.deepEqual([line.outcome, line.chargeMt ?? 0], ['context_length', 0]);
        });
    }

    test('is passed on when part of it is a picture or a schema, of which nobody knows what the model is given', async () => {
        const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } };
        for (const body of [{ messages: [{ role: 'user', content: [{ type: 'text', text: words(50) }, image] }] },
            { messages: [{ role: 'user', content: words(50) }], response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { description: words(60) } } } }])
            assert.equal((await chatCall(short, { max_tokens: 1, ...body }, { to: 'tokens' })).status, 200);
    });

    test('is passed on when the server was asked to cut it', async () => {
        const ask = (truncation) => fetch(`${short.url}/openai/v1/responses`, {
            method: 'POST', headers: { 'content-type': 'application/json', 'api-key': apiKey },
            body: JSON.stringify({ model: 'tokens', input: words(200), truncation, max_output_tokens: 1 }),
        });
        assert.equal((await ask('disabled')).status, 400);
        assert.equal((await ask('auto')).status, 200);
    });
});

function assertRefused(answer, limit, to = 'S0') {
    assert.equal(answer.status, 429);
    assert.equal(answer.error.code, '429');
    const seconds = Number(answer.headers['retry-after']);
    assert.equal(answer.error.message,
        `Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded ${limit} rate limit of your ` +
        `current OpenAI ${to} pricing tier. Please retry after ${seconds} seconds. Please go here: https://aka.ms/oai/quotaincrease if you would ` +
        'like to further increase the default rate limit.');
    const ms = Number(answer.headers['retry-after-ms']);
    assert.ok(ms >= 1 && ms <= 60000);
    assert.equal(seconds, Math.ceil(ms / 1000));
    assert.equal(answer.headers['x-should-retry'], undefined);
}

describe('tokens a minute', () => {
    test('the estimate is a token for four characters and max_tokens for each choice, and what remains is said', async () => {
        await roomInMinute('exact');
        const [limit, start, , calls] = limits(await call('exact', ''));
        assert.deepEqual([limit, await gateway.debug('exact').then((d) => d.capacity)], [100000, 100]);
        let expected = start;
        for (const [content, more, tokens] of [
            ['x'.repeat(400), {}, 101],
            ['', { max_tokens: 70 }, 70],
            ['', { max_tokens: 70, n: 3 }, 210],
            ['', { max_tokens: undefined, max_completion_tokens: 50 }, 50],
            ['ü'.repeat(400), {}, 101], // characters, not bytes
        ]) {
            const answer = await call('exact', content, more);
            assert.equal(answer.status, 200);
            // The roles' few characters count as well.
            const spent = expected - limits(answer)[1];
            assert.ok(spent >= tokens && spent <= tokens + 2, `${spent} instead of ${tokens} and a little`);
            expected = limits(answer)[1];
        }
        assert.ok(limits(await call('exact', ''))[3] <= calls - 5 || calls < 10);
    });

    test('mode reach refuses when the limit is reached, and not before', async () => {
        await roomInMinute('reach');
        const first = await call('reach', '', { max_tokens: 9000 });
        assert.equal(first.status, 200);
        assert.ok(limits(first)[1] > 900 && limits(first)[1] < 1000);
        // Below the limit: whatever its size, this one passes.
        const big = await call('reach', '', { max_tokens: 50000 });
        assert.equal(big.status, 200);
        assert.equal(limits(big)[1], 0);
        const refused = await call('reach', '');
        assertRefused(refused, 'token');
        assert.equal(limits(refused)[1], 0);
        assert.ok(Math.abs(Number(refused.headers['x-ratelimit-reset-tokens']) - Number(refused.headers['retry-after'])) <= 1);
    });

    test('mode strict admits what fits and never more, but one large call alone', async () => {
        await roomInMinute('strict');
        assert.equal((await call('strict', '', { max_tokens: 5000 })).status, 200);
        assertRefused(await call('strict', '', { max_tokens: 5000 }), 'token');
        const fits = await call('strict', '', { max_tokens: 4900 });
        assert.equal(fits.status, 200);
        assert.ok(limits(fits)[1] > 0);
        // Its minute is another one, and any call made to look at it would no longer leave it alone.
        for (;;) {
            const large = await call('alone', '', { max_tokens: 5000 });
            assert.equal(large.status, 200);
            const seconds = Number(large.headers['x-ratelimit-reset-tokens']);
            if (seconds > 10) break;
            await delay(seconds * 1000 + 1);
        }
        assertRefused(await call('alone', ''), 'token');
    });

    test('the estimate is not corrected by what the call used', async () => {
        await roomInMinute('global');
        const a = await call('global', '', { max_tokens: 100 }, { 'x-sim-output-tokens': '2' });
        const line = (await until(() => gateway.lines().find((l) => l.id === a.headers['apim-request-id'])));
        assert.equal(line.outputTokens, 2);
        assert.ok(line.countedTokens >= 100);
        assert.equal(line.remainingTokens, limits(a)[1]);
        assert.equal(line.chargeMt, undefined);
        assert.equal(line.sku, 'GlobalStandard');
    });

    test('a refused call is not counted', async () => {
        for (let isOneWindow = false; !isOneWindow;) {
            await roomInMinute('reach');
            await spend('reach');
            const before = await gateway.debug('reach');
            const requests = [], resets = [];
            for (let i = 0; i < 5; i++) {
                const answer = await call('reach', '');
                assertRefused(answer, 'token');
                requests.push(limits(answer)[3]);
                resets.push(Number(answer.headers['x-ratelimit-reset-requests']));
            }
            const after = await gateway.debug('reach');
            assert.equal(after.refused - before.refused, 5);
            assert.equal(after.admitted, before.admitted);
            // The end of a window of calls takes what was left of it away, so what remains is told by one window alone.
            isOneWindow = resets.at(-1) <= resets[0];
            if (isOneWindow) assert.ok(requests.at(-1) >= requests[0], `${requests}`);
        }
    });
});

describe('calls a minute', () => {
    test('a deployment of 60 takes 10 in 10 seconds; the next one is told when the window ends', async () => {
        // Sends until refused, then what is admitted at the named time.
        let answer;
        for (let i = 0; i < 11; i++) if ((answer = await call('calls', '')).status === 429) break;
        if (answer.status !== 429) answer = await call('calls', ''); // a window ended meanwhile
        for (let i = 0; i < 12 && answer.status !== 429; i++) answer = await call('calls', '');
        assertRefused(answer, 'call');
        assert.equal(Number(answer.headers['x-ratelimit-limit-requests']), 60);
        assert.ok(Number(answer.headers['retry-after-ms']) <= 10000);
        await delay(Number(answer.headers['retry-after-ms']) + 1);
        assert.equal((await call('calls', '')).status, 200);
    });

    test('a deployment of 1,200 takes 20 a second', async () => {
        for (let attempt = 1; ; attempt++) {
            const start = performance.now();
            const answers = await Promise.all(Array.from({ length: 60 * attempt }, () => call('fast', '')));
            const seconds = (performance.now() - start) / 1000;
            const admitted = answers.filter((a) => a.status === 200).length;
            const refused = answers.find((a) => a.status === 429);
            if (!refused && attempt < 10) continue; // the machine was slow
            assert.ok(refused, `none of ${answers.length} in ${seconds} s was refused`);
            assertRefused(refused, 'call');
            assert.ok(Number(refused.headers['retry-after-ms']) <= 1000);
            // At most one window begins beside those that fit in the time taken.
            assert.ok(admitted >= 20 || attempt > 1);
            assert.ok(admitted <= 20 * (Math.ceil(seconds) + 1), `${admitted} in ${seconds} s`);
            return;
        }
    });
});

describe('what else a standard deployment says', () => {
    test('v1 paths name the instance instead of a version', async () => {
        await roomInMinute('reach');
        await spend('reach');
        const response = await fetch(`${gateway.url}/openai/v1/chat/completions`, {
            method: 'POST', headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
            body: JSON.stringify({ model: 'reach', messages: [{ role: 'user', content: '' }] }),
        });
        assert.equal(response.status, 429);
        const { error } = await response.json();
        assert.match(error.message, /^Requests to the ChatCompletions_Create Operation under OpenAI Language Model Instance API have exceeded (token|call) rate limit/);
    });

    test('embeddings have their own operation name', async () => {
        const embed = () => fetch(`${gateway.url}/openai/deployments/embed/embeddings?api-version=2024-02-01`, {
            method: 'POST', headers: { 'api-key': apiKey, 'content-type': 'application/json' }, body: JSON.stringify({ input: 'x'.repeat(5000) }),
        });
        let response;
        for (let i = 0; i < 4; i++) {
            response = await embed();
            if (response.status === 429) break;
            await response.arrayBuffer();
        }
        assert.equal(response.status, 429);
        assert.match((await response.json()).error.message, /^Requests to the Embeddings_Create Operation under Azure OpenAI API version 2024-02-01 have/);
    });

    test('every answer has all six limits as whole numbers, refusals too', async () => {
        await roomInMinute('reach');
        await spend('reach');
        const refused = await call('reach', '');
        for (const answer of [refused, await call('exact', '')]) {
            for (const what of ['limit', 'remaining', 'reset'])
                for (const of of ['tokens', 'requests']) assert.match(answer.headers[`x-ratelimit-${what}-${of}`], /^\d+$/);
            assert.ok(Number(answer.headers['x-ratelimit-reset-tokens']) <= 60);
            assert.ok(Number(answer.headers['x-ratelimit-reset-requests']) <= 10);
            assert.equal(answer.headers['azure-openai-deployment-utilization'], undefined);
        }
    });
});

describe('configurations of standard deployments', () => {
    test('an embedding model is sold as standard only', async (t) => {
        const wrong = await spawnGateway(t, {
            resources: resourceSet([sim.url], [deployment('e', { model: 'text-embedding-3-small' })]), mayFail: true,
        });
        assert.deepEqual(await wrong.ended, { code: 1, signal: null });
        assert.match(wrong.stderr(), /resources\.json:.*sku.*text-embedding-3-small.*not sold as ProvisionedManaged, only as/);
    });

    test('strict mode and depth are refused where they do not act', async (t) => {
        for (const [wrong, text] of [
            [deployment('p', { weir: { standardMode: 'strict' } }), /standardMode.*acts only on standard/],
            [standard('s', 1, { weir: { depthWindowMs: 5000 } }), /depthWindowMs.*acts only on provisioned/],
        ]) {
            const gw = await spawnGateway(t, { resources: resourceSet([sim.url], [wrong]), mayFail: true });
            assert.equal((await gw.ended).code, 1);
            assert.match(gw.stderr(), text);
        }
    });
});
