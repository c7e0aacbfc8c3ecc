// tokenize.test.mjs - `weir tokenize` counts as OpenAI's own tokenizer does, id for id.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { get_encoding } from 'tiktoken';
import { resourceSet, runWeir, spawnGateway } from './support.mjs';
import { drawer, tokenize } from './texts.mjs';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const encodings = ['o200k_base', 'cl100k_base'];

// How many random texts each encoding is tried with, and from which seed: a million take ten minutes.
const N_RANDOM = Number(process.env.TOKENIZE_TEXTS ?? 3000);
const SEED = Number(process.env.TOKENIZE_SEED ?? 1);

// Compares every text with the oracle, ids and counts.
async function compare(encoding, texts) {
    const oracle = get_encoding(encoding);
    const lines = texts.map((text) => JSON.stringify({ text }) + '\n').join('');
    const { code, stdout, stderr } = await tokenize(['--encoding', encoding, '--jsonl'], lines);
    assert.equal(code, 0, stderr);
    const counted = await tokenize(['--encoding', encoding, '--jsonl', '--count'], lines);
    const answers = stdout.trimEnd().split('\n'), counts = counted.stdout.trimEnd().split('\n');
    assert.equal(answers.length, texts.length);
    assert.equal(counts.length, texts.length);
    texts.forEach((text, i) => {
        const ids = Array.from(oracle.encode_ordinary(text));
        assert.deepEqual(JSON.parse(answers[i]), { count: ids.length, ids }, `ids of ${JSON.stringify(text)}`);
        assert.deepEqual(JSON.parse(counts[i]), { count: ids.length }, `count of ${JSON.stringify(text)}`);
    });
    oracle.free();
}

for (const encoding of encodings) {
    describe(encoding, () => {
        test('has the ids of random texts', async () => {
            const draw = drawer(SEED);
            for (let left = N_RANDOM; left > 0; left -= 5000)
                await compare(encoding, Array.from({ length: Math.min(left, 5000) }, draw));
        });

        test('has the ids of every character, alone and between letters', async () => {
            const texts = [];
            for (let code = 0; code < 0x110000; code += 64) {
                if (code >= 0xd800 && code < 0xe000) continue;
                // All of a block where scripts are, one of the rest.
                const step = code < 0x3400 || (code >= 0xa000 && code < 0xac00) || (code >= 0xf900 && code < 0x1fc00) ? 1 : 64;
                const all = [];
                for (let i = 0; i < 64; i += step) all.push(String.fromCodePoint(code + i));
                texts.push(all.join(' a'), all.join('B1'), all.join(''));
            }
            await compare(encoding, texts);
        });

        test('has the ids of our own pages and sources', async () => {
            const texts = [];
            for (const folder of ['docs', 'src/call', 'src/tokens', 'tests/e2e']) {
                for (const file of readdirSync(path.join(top, folder), { withFileTypes: true }))
                    if (file.isFile()) texts.push(readFileSync(path.join(top, folder, file.name), 'utf8'));
            }
            assert.ok(texts.length > 30);
            await compare(encoding, texts);
        });
    });
}

test('text that only looks like a special token is text', async () => {
    const { code, stdout } = await tokenize(['<|endoftext|>', '<|endofprompt|>'], '');
    assert.equal(code, 0);
    const [first, second] = stdout.trimEnd().split('\n').map((l) => JSON.parse(l));
    assert.equal(first.count, 7);
    assert.ok(second.ids.every((id) => id < 199998));
});

test('bytes that are no UTF-8 count as a decoder reads them', async () => {
    const oracle = get_encoding('o200k_base');
    const inputs = [[0xff], [0x61, 0xe4, 0xb8, 0x62], [0xf0, 0x9f, 0x98], [0xed, 0xa0, 0x80], [0xc0, 0xaf, 0x20, 0x78],
        [0xf4, 0x90, 0x80, 0x80], [0x20, 0xe2, 0x28, 0xa1, 0x0a]];
    for (const bytes of inputs) {
        const { code, stdout } = await tokenize([], Buffer.from(bytes));
        assert.equal(code, 0);
        const text = new TextDecoder().decode(Uint8Array.from(bytes));
        assert.deepEqual(JSON.parse(stdout).ids, Array.from(oracle.encode_ordinary(text)), `of ${bytes}`);
    }
    oracle.free();
});

test('a byte order mark is a part of the text', async () => {
    const oracle = get_encoding('o200k_base');
    const { stdout } = await tokenize([], Buffer.from([0xef, 0xbb, 0xbf, 0x61]));
    assert.deepEqual(JSON.parse(stdout).ids, Array.from(oracle.encode_ordinary('\ufeffa')));
    oracle.free();
});

test('a megabyte without a blank is counted, and has as many tokens as its length tells', async () => {
    const oracle = get_encoding('cl100k_base');
    for (const unit of ['a', '-', '=', ' ', '中', 'ab=']) {
        const short = unit.repeat(200), long = unit.repeat(1 << 20);
        const { code, stdout } = await tokenize(['--encoding', 'cl100k_base', '--count', '--jsonl'],
            [short, long].map((text) => JSON.stringify({ text }) + '\n').join(''));
        assert.equal(code, 0);
        const [few, many] = stdout.trimEnd().split('\n').map((l) => JSON.parse(l).count);
        assert.equal(few, oracle.encode_ordinary(short).length);
        assert.ok(many > few * 4000 && many < few * 6000, `${unit}: ${few} and ${many}`);
    }
    oracle.free();
});

test('a chat has what the published recipe says', async () => {
    // OpenAI Cookbook, "How to count tokens with tiktoken": the API reported these for the example.
    const messages = [
        { role: 'system', content: 'You are a helpful, pattern-following assistant that translates corporate jargon into plain English.' },
        { role: 'system', name: 'example_user', content: 'New synergies will help drive top-line growth.' },
        { role: 'system', name: 'example_assistant', content: 'Things working well together will increase revenue.' },
        { role: 'system', name: 'example_user', content: "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage." },
        { role: 'system', name: 'example_assistant', content: "Let's talk later when we're less busy about how to do better." },
        { role: 'user', content: "This late pivot means we don't have time to boil the ocean for the client deliverable." },
    ];
    for (const [model, count] of [['gpt-4o', 124], ['gpt-4', 129]]) {
        const { code, stdout } = await tokenize(['--model', model, '--jsonl'], JSON.stringify({ messages }));
        assert.equal(code, 0);
        assert.deepEqual(JSON.parse(stdout), { count });
    }
});

test('what is wrong is told, with the line', async () => {
    const wrong = [
        { args: ['--encoding', 'p50k'], code: 2, says: /o200k_base, cl100k_base or a file, not "p50k"/ },
        { args: ['--model', 'llama-3'], code: 2, says: /nobody knows the encoding of --model llama-3/ },
        { args: ['--jsonl', 'text'], code: 2, says: /takes no texts/ },
        { args: ['--jsnol'], code: 2, says: /did you mean --jsonl/ },
        { args: ['--jsonl'], input: '{"text":"a"}\n{"text":', code: 1, says: /line 2: / },
        { args: ['--jsonl'], input: '\n\n{"test":"a"}\n', code: 1, says: /line 3: neither/ },
        { args: ['--jsonl'], input: '{"text":7}\n', code: 1, says: /line 1: neither/ },
        { args: ['--jsonl'], input: '{"messages":{}}\n', code: 1, says: /line 1: messages must be an array/ },
        { args: ['--jsonl'], input: '{"messages":["a"]}\n', code: 1, says: /line 1: messages\[0\] must be an object/ },
        { args: ['--jsonl'], input: '{"text":"\\ud83d"}\n', code: 1, says: /line 1: / },
    ];
    for (const { args, input = '', code, says } of wrong) {
        const answer = await tokenize(args, input);
        assert.equal(answer.code, code, `${args}: ${answer.stderr}`);
        assert.match(answer.stderr, says);
    }
    const { code, stdout } = await runWeir(['tokenize', '--help']);
    assert.equal(code, 0);
    assert.match(stdout, /--jsonl/);
});

test('POST /tokenize of the operations listener answers as weir tokenize does, and charges nobody', async (t) => {
    const gateway = await spawnGateway(t, { resources: resourceSet(['http://127.0.0.1:9']) });
    const ask = async (body, method = 'POST') => {
        const response = await fetch(`${gateway.opsUrl}/tokenize`, { method, body: method === 'POST' ? body : undefined });
        return { status: response.status, body: await response.json() };
    };
    const oracle = get_encoding('o200k_base');
    const prompt = 'Hello, 共和国 world';
    const ids = Array.from(oracle.encode_ordinary(prompt));
    const text = await ask(JSON.stringify({ model: 'gpt-4o', prompt }));
    assert.equal(text.status, 200);
    assert.deepEqual({ ...text.body, max_model_len: 0 }, { count: ids.length, max_model_len: 0, tokens: ids, exact: true });
    const chat = await ask(JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: prompt }] }));
    assert.equal(chat.body.count, ids.length + 7);
    // With all that a chat may have beside its messages.
    const messages = [{ role: 'system', content: 'Be brief.' },
        { role: 'user', name: 'ann', content: [{ type: 'text', text: prompt }, { type: 'image_url', image_url: { url: 'https://x/y.png', detail: 'low' } }] },
        { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'weather', arguments: '{"city":"Basel"}' } }] },
        { role: 'tool', tool_call_id: 'c', content: 'rain' }];
    const weather = { name: 'weather', description: 'Tells the weather.',
        parameters: { type: 'object', properties: { city: { type: 'string', description: 'Where' }, days: { type: 'array', items: { type: 'integer' } } } } };
    const schema = { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object', properties: { x: { type: 'string' } } } } };
    const bodies = [{}, { tools: [{ type: 'function', function: weather }] }, { functions: [weather] }, { response_format: schema },
        { tools: [{ type: 'function', function: weather }], response_format: schema }].map((more) => ({ model: 'gpt-4o', messages, ...more }));
    const counted = await tokenize(['--model', 'gpt-4o', '--jsonl'], bodies.map((b) => JSON.stringify(b) + '\n').join(''));
    const counts = counted.stdout.trimEnd().split('\n').map((l) => JSON.parse(l).count);
    for (const [i, body] of bodies.entries()) assert.equal(counts[i], (await ask(JSON.stringify(body))).body.count, JSON.stringify(body));
    for (const more of counts.slice(1)) assert.ok(more > counts[0] + 15, `${counts}`);
    assert.equal((await ask(JSON.stringify({ model: 'nobody', prompt }))).status, 404);
    assert.equal((await ask('{"model":')).status, 400);
    assert.equal((await ask('', 'GET')).status, 405);
    // Several long ones at once: one after another, each with its own answer; and who leaves is no harm.
    const long = (n) => 'a few words and 共和国 '.repeat(n);
    const leaving = new AbortController();
    const left = fetch(`${gateway.opsUrl}/tokenize`, { method: 'POST', body: JSON.stringify({ model: 'gpt-4o', prompt: long(50000) }), signal: leaving.signal })
        .then(() => null, (e) => e.name);
    const many = [30000, 3, 20000, 10000].map((n) => ask(JSON.stringify({ model: 'gpt-4o', prompt: long(n) })));
    leaving.abort();
    assert.equal(await left, 'AbortError');
    assert.deepEqual((await Promise.all(many)).map((a) => a.body.count),
        [30000, 3, 20000, 10000].map((n) => oracle.encode_ordinary(long(n)).length));
    assert.equal((await ask(' '.repeat((32 << 20) + 1))).status, 413);
    assert.equal((await gateway.debug('ptu')).chargedMt, 0);
    oracle.free();
});

test('a process that is told to end while it counts a long text ends in order', async (t) => {
    for (let round = 0; round < 3; round++) {
        const gateway = await spawnGateway(t, { resources: resourceSet(['http://127.0.0.1:9']) });
        const body = JSON.stringify({ model: 'gpt-4o', prompt: 'words and 共和国 '.repeat(100000 * (round + 1)) });
        const asked = fetch(`${gateway.opsUrl}/tokenize`, { method: 'POST', body }).then((r) => r.status, () => 'cut');
        for (let i = 0; i < round; i++) await fetch(`${gateway.opsUrl}/healthz`);
        const { code } = await gateway.stop();
        assert.equal(code, 0);
        assert.ok([200, 'cut'].includes(await asked));
    }
});
