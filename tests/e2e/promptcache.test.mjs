// promptcache.test.mjs - beginnings of prompts that a backend has cached: predicted, credited, corrected; and long prompts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
    answerBytes, apiKey, chatCall, completionOf, deployment, fakeBackend, resourceSet, spawnGateway, spawnSimulator, until, usageOf,
} from './support.mjs';

// Prose of so many words, the same for the same seed.
function prose(words, seed) {
    const list = ['weir', 'river', 'holds', 'the', 'level', 'of', 'water', 'above', 'its', 'sill', 'and', 'lets', 'pass', 'what', 'comes', 'beyond'];
    let x = seed + 1, text = '';
    for (let i = 0; i < words; i++) {
        x = (x * 69069 + 12345) % 4294967296;
        text += (i ? ' ' : '') + list[Math.floor(x / 65536) % list.length] + (x % 11 === 0 ? ',' : '');
    }
    return text;
}

const user = (content) => [{ role: 'user', content }];

test('a conversation of 20 turns: what is predicted is what the backend reports, on whichever loop it goes', async (t) => {
    const sim = await spawnSimulator(t, '--profile', 'instant', '--prompt-cache');
    const gateway = await spawnGateway(t, { resources: resourceSet([sim.url], [deployment('ptu', { capacity: 1000 })]), loops: 2 });
    const messages = [{ role: 'system', content: prose(700, 1) }];
    for (let turn = 0; turn < 20; turn++) {
        // A new client has connections of its own, which the kernel gives to one loop or the other.
        const client = new OpenAI({ apiKey, baseURL: `${gateway.url}/openai/v1` });
        messages.push({ role: 'user', content: prose(60 + 7 * turn, 100 + turn) });
        const answer = await client.chat.completions.create({ model: 'ptu', messages, max_tokens: 40 + turn });
        messages.push({ role: 'assistant', content: answer.choices[0].message.content });
    }
    // Each loop writes its lines when it has time: the order of turns is that of their prompts.
    const lines = (await gateway.settled(20)).sort((a, b) => a.promptTokens - b.promptTokens);
    assert.equal(lines.length, 20);
    for (const [turn, l] of lines.entries()) {
        assert.equal(l.promptEstimate, l.promptTokens, `turn ${turn}: counted as the backend counts`);
        assert.equal(l.cachedPredicted, l.cachedTokens, `turn ${turn}: predicted ${l.cachedPredicted}, reported ${l.cachedTokens}`);
        assert.equal(l.estimateMt, (l.promptTokens - l.cachedTokens) * 1000 + l.outputEstimate * 3000);
    }
    assert.ok(lines.filter((l) => l.cachedTokens >= 1024).length >= 15);
    assert.ok(lines[19].cachedTokens > lines[8].cachedTokens + 1000);
    assert.equal(await gateway.metric('weir_deployment_prompt_residual_p99_tokens'), 0);
    assert.equal(await gateway.metric('weir_deployment_cached_predicted_tokens_total'), lines.reduce((sum, l) => sum + l.cachedTokens, 0));
    assert.ok(await gateway.metric('weir_prompt_lookups_total') > 100);
});

test('calls that a deployment refuses at their full price are admitted with the credit for what is cached', async (t) => {
    // 15 PTUs of gpt-4o are 37,500 tokens a minute: eight prompts of 5,200 go beyond that, and no ninth is admitted.
    const held = [];
    let holds = false;
    const backend = await fakeBackend(t, (r) => {
        const cached = r.body.includes('seen before') && holds ? 4992 : 0; // the first call of all is not held
        const answer = () => r.write(answerBytes(completionOf('yes', usageOf(5200, 1, { prompt_tokens_details: { cached_tokens: cached } }))));
        if (holds) held.push(answer);
        else answer();
    });
    const release = () => { for (const answer of held.splice(0)) answer(); };
    const gateway = await spawnGateway(t, { resources: resourceSet([backend.url], ['new', 'seen'].map((name) => deployment(name, { sku: 'GlobalProvisionedManaged', capacity: 15 }))) });
    const common = prose(4600, 5);
    const ask = async (to, what) => (await chatCall(gateway, { messages: user(what), max_tokens: 1 }, { to })).status;
    assert.equal(await ask('seen', `seen before: ${common}`), 200);
    holds = true;

    const fresh = Array.from({ length: 12 }, (_, i) => ask('new', `new ${i}: ${common}`));
    const same = Array.from({ length: 12 }, (_, i) => ask('seen', `seen before: ${common} ${i}`));
    const refused = () => gateway.lines().filter((l) => l.status === 429).length;
    try {
        await until(() => held.length + refused() >= 24, 30000);
    } finally {
        holds = false;
        release();
    }
    const [freshStatus, sameStatus] = [await Promise.all(fresh), await Promise.all(same)];
    assert.ok(freshStatus.includes(429), 'without credit the deployment is full');
    assert.deepEqual(sameStatus, Array(12).fill(200));
    const lines = (await gateway.settled(13, 'seen')).slice(1);
    for (const l of lines) assert.ok(l.cachedPredicted >= 4096 && l.cachedPredicted % 128 === 0, `${l.cachedPredicted}`);
});

test('a prediction that was wrong is paid for, and a backend that says nothing of its cache gets no credit', async (t) => {
    let tells = true;
    const backend = await fakeBackend(t, (r) =>
        r.write(answerBytes(completionOf('yes', usageOf(2000, 1, tells ? { prompt_tokens_details: { cached_tokens: 0 } } : {})))));
    const gateway = await spawnGateway(t, { resources: resourceSet([backend.url], [deployment('ptu', { capacity: 1000 })]) });
    const content = prose(1900, 3);
    const ask = async () => {
        assert.equal((await chatCall(gateway, { messages: user(content), max_tokens: 1 })).status, 200);
        return (await gateway.settled(++ask.n)).at(-1);
    };
    ask.n = 0;
    const first = await ask();
    assert.equal(first.cachedPredicted, 0);
    const second = await ask();
    assert.ok(second.cachedPredicted >= 1024);
    assert.ok(second.estimateMt < first.estimateMt);
    assert.equal(second.chargeMt, 2000 * 1000 + 3000);
    assert.equal(second.correctionMt, second.chargeMt - second.estimateMt);
    tells = false;
    for (let i = 0; i < 20; i++) await ask();
    const silent = await ask();
    assert.equal(silent.cachedPredicted, 0);
    assert.equal(silent.chargeMt, 2000 * 1000 + 3000);
    tells = true;
    await ask();
    assert.ok((await ask()).cachedPredicted >= 1024);
});

test('conversations stay with the backend that has them', async (t) => {
    const TALKS = 24, TURNS = 3;
    const sims = [await spawnSimulator(t, '--profile', 'instant', '--prompt-cache'), await spawnSimulator(t, '--profile', 'instant', '--prompt-cache')];
    const gateway = await spawnGateway(t, { resources: resourceSet(sims.map((s) => s.url), [deployment('ptu', { capacity: 1000 })]) });
    for (let talk = 0; talk < TALKS; talk++) {
        let content = prose(1500, 50 + talk);
        for (let turn = 0; turn < TURNS; turn++) {
            assert.equal((await chatCall(gateway, { messages: user(content), max_tokens: 1 })).status, 200);
            content += prose(100, 1000 * talk + turn);
        }
    }
    const lines = await gateway.settled(TALKS * TURNS);
    for (let talk = 0; talk < TALKS; talk++) {
        const turns = lines.slice(TURNS * talk, TURNS * talk + TURNS);
        assert.equal(new Set(turns.map((l) => l.backend)).size, 1);
        for (const l of turns) assert.equal(l.cachedPredicted, l.cachedTokens);
    }
    assert.equal(new Set(lines.map((l) => l.backend)).size, 2, 'and not all with one');
});

test('long prompts are counted on another thread, to the token, and whoever leaves meanwhile costs nothing', async (t) => {
    const sim = await spawnSimulator(t, '--profile', 'instant', '--prompt-cache', '--context', '2000000');
    const gateway = await spawnGateway(t, { resources: resourceSet([sim.url], [deployment('ptu', { capacity: 100000 }), deployment('small')]) });
    const long = prose(60000, 9);
    const asks = Array.from({ length: 4 }, (_, i) => chatCall(gateway, { messages: user(`${i} ${long}`), max_tokens: 1 }).then((r) => r.status));
    assert.equal((await chatCall(gateway, { messages: user('short'), max_tokens: 1 })).status, 200);
    assert.deepEqual(await Promise.all(asks), Array(4).fill(200));
    assert.equal((await chatCall(gateway, { messages: user(`0 ${long}`), max_tokens: 1 })).status, 200);
    const lines = await gateway.settled(6);
    for (const l of lines) assert.equal(l.promptEstimate, l.promptTokens);
    assert.ok(lines.at(-1).cachedPredicted > 60000);
    assert.equal(lines.at(-1).cachedPredicted, lines.at(-1).cachedTokens);
    assert.ok(await gateway.metric('weir_prompts_counted_apart_total') >= 5);
    // What only looks alike is not: another file, another salt for the server's cache.
    const salted = (n) => chatCall(gateway, { messages: user(`0 ${long}`), max_tokens: 1, cache_salt: `${n}` });
    assert.equal((await salted(1)).status, 200);
    assert.equal((await gateway.settled(7)).at(-1).cachedPredicted, 0);
    // A deployment that is full does not count them at all.
    const apart = await gateway.metric('weir_prompts_counted_apart_total');
    // What was generated is charged: 144 % of what the deployment has in a minute.
    const filled = await chatCall(gateway, { messages: user('x'), max_tokens: 60000 }, { to: 'small', headers: { 'x-sim-output-tokens': '60000' } });
    assert.equal((await filled.json()).usage.completion_tokens, 60000);
    const refused = await chatCall(gateway, { messages: user(`9 ${long}`), max_tokens: 1 }, { to: 'small' });
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get('retry-after-ms')) >= 1);
    assert.equal((await refused.json()).error.code, '429');
    assert.equal(await gateway.metric('weir_prompts_counted_apart_total'), apart);
    const seen = (await gateway.settled(9)).length;
    // Broken JSON of that size is refused as any other.
    assert.equal((await chatCall(gateway, `{"messages":[{"role":"user","content":"${long}"}`)).status, 400);
    // Clients that leave while their prompts wait to be counted.
    const controllers = Array.from({ length: 8 }, () => new AbortController());
    const left = controllers.map((c, i) => chatCall(gateway, { messages: user(`${100 + i} ${prose(90000, i)}`), max_tokens: 1 }, { signal: c.signal }).then((r) => r.text(), () => null));
    await until(async () => await gateway.metric('weir_prompts_counted_apart_total') >= apart + 2);
    // All of them have come in: a call leaves a line, and what has not begun is none.
    await until(async () => await gateway.metric('weir_calls_in_flight') + gateway.lines().length >= seen + 1 + 8);
    for (const c of controllers) c.abort();
    await Promise.all(left);
    const after = await gateway.settled(seen + 1 + 8);
    for (const l of after) assert.ok(['ok', 'bad_json', 'client_gone', 'deployment_full'].includes(l.outcome), l.outcome);
    await until(async () => await gateway.metric('weir_calls_in_flight') === 0);
    // A stop while prompts are being counted.
    const last = [];
    const ask = () => {
        const i = last.length;
        last.push(chatCall(gateway, { messages: user(`${200 + i} ${prose(200000, i)}`), max_tokens: 1 }).then((r) => r.status, () => 0));
    };
    while (last.length < 6) ask();
    await until(async () => {
        if (await gateway.metric('weir_calls_in_flight') >= 2) return true;
        ask(); // those before it may have ended between two looks
        return false;
    });
    const end = await gateway.stop(60000);
    assert.deepEqual(end, { code: 0, signal: null }, gateway.stderr());
    await Promise.all(last);
});
