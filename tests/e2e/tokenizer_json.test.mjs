// tokenizer_json.test.mjs - `weir tokenize --encoding FILE` counts by a model's tokenizer.json as Hugging Face's own
// library does, id for id. The files are made here: small ones by training, and cl100k_base in that form.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Tokenizer } from '@anush008/tokenizers';
import { get_encoding } from 'tiktoken';
import {
    answerBytes, chatCall, completionOf, deployment, fakeBackend, resourceSet, spawnGateway, tempFolder, until,
} from './support.mjs';
import { ask, operatorsResources, spawnControl, tokenOf, v } from './control_support.mjs';
import { drawer, tokenize } from './texts.mjs';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const N_RANDOM = Number(process.env.TOKENIZE_TEXTS ?? 1000);
const SEED = Number(process.env.TOKENIZE_SEED ?? 1);

// --- how models cut text: the expressions of their published files ---

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", FIRST = '[^\\r\\n\\p{L}\\p{N}]?', BLANKS = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]';
const byteLevel = (use_regex) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex });
const split = (Regex, behavior = 'Isolated', invert = false) => ({
    type: 'Sequence',
    pretokenizers: [{ type: 'Split', pattern: { Regex }, behavior, invert }, byteLevel(false)],
});
const cl100k = `${CONTRACTIONS}|${FIRST}\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`;
const families = {
    'GPT-2': byteLevel(true),
    'SmolLM': { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)] },
    'Llama 3': split(cl100k),
    'GPT-4': split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
        'Removed', true),
    'gpt-oss': split(`${FIRST}${UPPER}*${LOWER}+${CONTRACTIONS}?|${FIRST}${UPPER}+${LOWER}*${CONTRACTIONS}?|\\p{N}{1,3}|`
        + ` ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`),
    'Mistral Nemo': split(`${FIRST}${UPPER}*${LOWER}+|${FIRST}${UPPER}+${LOWER}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BLANKS}`),
    'Qwen 2': split(`${CONTRACTIONS}|${FIRST}\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${BLANKS}`),
    'Qwen 3.5': split(`${CONTRACTIONS}|${FIRST}[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BLANKS}`),
};

// --- making files ---

// One printable character for each byte, as GPT-2's encoder has it.
const alphabet = [];
for (let byte = 0, next = 256; byte < 256; byte++) {
    const seen = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    alphabet.push(String.fromCodePoint(seen ? byte : next++));
}
const spell = (bytes) => Array.from(bytes, (b) => alphabet[b]).join('');

// Trains merges on words as GPT-2's recipe does: the pair that occurs most is joined, again and again.
function train(text, nMerges) {
    const words = new Map();
    for (const [word] of text.matchAll(/ ?\p{L}+| ?[^\s\p{L}]+|\s+/gu)) {
        const spelled = spell(Buffer.from(word));
        words.set(spelled, (words.get(spelled) ?? 0) + 1);
    }
    let parts = Array.from(words, ([word, times]) => ({ tokens: Array.from(word), times }));
    const merges = [];
    while (merges.length < nMerges) {
        const pairs = new Map();
        for (const { tokens, times } of parts) {
            for (let i = 0; i + 1 < tokens.length; i++) {
                const pair = `${tokens[i]} ${tokens[i + 1]}`;
                pairs.set(pair, (pairs.get(pair) ?? 0) + times);
            }
        }
        let best, most = 0;
        for (const [pair, times] of pairs) if (times > most) [best, most] = [pair, times];
        if (!best) break;
        const [left, right] = best.split(' ');
        merges.push(best);
        parts = parts.filter(({ tokens }) => tokens.length > 1);
        for (const part of parts) {
            const joined = [];
            for (const token of part.tokens) {
                if (token === right && joined.at(-1) === left) joined[joined.length - 1] = left + right;
                else joined.push(token);
            }
            part.tokens = joined;
        }
    }
    return merges;
}

function tokenizerJson({ merges, pre_tokenizer, normalizer = null, added = [], ignore_merges = false, extra = [] }) {
    const vocab = {};
    for (const token of [...alphabet, ...merges.map((m) => (Array.isArray(m) ? m.join('') : m.replace(' ', ''))), ...extra])
        vocab[token] ??= Object.keys(vocab).length;
    let id = Object.keys(vocab).length;
    return {
        version: '1.0', truncation: null, padding: null,
        added_tokens: added.map((a) => ({
            id: id++, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...a,
        })),
        normalizer, pre_tokenizer, post_processor: null, decoder: byteLevel(true),
        model: {
            type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
            fuse_unk: false, byte_fallback: false, ignore_merges, vocab, merges,
        },
    };
}

const corpus = ['README.md', 'src/tokens/count.c', 'tests/e2e/tokenize.test.mjs'].map((f) => readFileSync(path.join(top, f), 'utf8')).join('\n')
    + "world's DON'T we've 中文字符的 共和国 です ました Привет мир 합니다 🎉😀 ½ éàü हिन्दी ไทย 123 1234 \n\n    \t".repeat(20);
const added = [{ content: '<|endoftext|>' }, { content: '<think>', special: false }, { content: '<th', normalized: true },
    { content: '<mask>', lstrip: true }, { content: '<cafe\u0301>', normalized: true, special: false }, { content: '<tool_call>', rstrip: true, special: false }];
const words = ['<think>', '<thi', '<mask>', ' \n <mask> ', '<tool_call>', '<tool_call> \n x', '<|endoftext'];

let folder, merges;
before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'weir-tokenizer-'));
    merges = train(corpus, 700);
});
after(() => rmSync(folder, { recursive: true, force: true }));

function write(name, json, indent) {
    const file = path.join(folder, name);
    writeFileSync(file, typeof json === 'string' ? json : JSON.stringify(json, null, indent));
    return file;
}

// Ids and counts of `weir tokenize` against the expected ids.
async function compare(file, texts, expected) {
    const lines = texts.map((text) => JSON.stringify({ text }) + '\n').join('');
    const { code, stdout, stderr } = await tokenize(['--encoding', file, '--jsonl'], lines);
    assert.equal(code, 0, stderr);
    const counted = await tokenize(['--encoding', file, '--jsonl', '--count'], lines);
    const answers = stdout.trimEnd().split('\n'), counts = counted.stdout.trimEnd().split('\n');
    assert.equal(answers.length, texts.length);
    texts.forEach((text, i) => {
        const ids = expected[i];
        assert.deepEqual(JSON.parse(answers[i]), { count: ids.length, ids }, `ids of ${JSON.stringify(text)}`);
        assert.deepEqual(JSON.parse(counts[i]), { count: ids.length }, `count of ${JSON.stringify(text)}`);
    });
}

// The library's tables of characters are of an older Unicode: what it may not know is left out.
const old = (text) => text.replace(/[^\p{Assigned}]|[\u{1c80}-\u{1c8f}\u{a7cb}-\u{a7f1}]/gu, '').replace(/[\u{10000}-\u{10ffff}]/gu, '😀');

async function truth(file, texts) {
    const tokenizer = Tokenizer.fromFile(file), all = [];
    for (const text of texts) all.push(Array.from((await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds()));
    return all;
}

describe('as Hugging Face counts', () => {
    for (const [name, pre_tokenizer] of Object.entries(families)) {
        test(`by the expression of ${name}`, async () => {
            const normalizer = name.startsWith('Qwen') ? { type: 'NFC' } : null;
            const file = write(`${name}.json`, tokenizerJson({ merges, pre_tokenizer, normalizer, added }), 1);
            const draw = drawer(SEED, words);
            const texts = Array.from({ length: N_RANDOM }, draw).map(old);
            // Text in other forms than the one that the tokenizer brings it into; marks next to added tokens and in wrong order.
            if (normalizer) {
                for (const [i, form] of ['NFD', 'NFKD', 'NFD'].entries()) texts.push(...texts.slice(i * 100, i * 100 + 100).map((t) => t.normalize(form)));
                for (const marks of ['\u0338', '\u0301\u0323', '\u0323\u0301\u0323', '\u3099', '\u11a8'])
                    texts.push(...['<think>', '<th', '<mask>', '<tool_call>', ' \u0344<caf\u00e9>', 'e', 'か', '각', '가', 'ᄀ', ''].flatMap((w) => [w + marks, `a${marks}${w}`, `${w} ${marks}${w}${marks}x`]));
                texts.push('cafe\u0301 \u212b \u1e9b\u0323 \u0958 \uf900 \u2126 \u037e', 'e' + '\u0301\u0323'.repeat(5000));
            }
            for (const f of readdirSync(path.join(top, 'src/tokens'))) texts.push(readFileSync(path.join(top, 'src/tokens', f), 'utf8'));
            await compare(file, texts, await truth(file, texts));
        });
    }

    test('each mark, alone, in and out of order', async () => {
        const file = write('marks.json', tokenizerJson({ merges: [], pre_tokenizer: byteLevel(true), normalizer: { type: 'NFC' } }));
        const texts = [];
        for (let code = 0x80, line = ''; code < 0x110000; code++) {
            const c = String.fromCodePoint(code), isSyllable = code >= 0xac00 && code < 0xd7a4, isHalf = code >= 0xd800 && code < 0xe000;
            if (!isHalf && (/\p{M}/u.test(c) || (c.normalize('NFD') !== c && (!isSyllable || code % 97 === 0))))
                line += `${c} x${c}\u0334 x\u0345${c} x\u0301${c}\u0323 ${c.normalize('NFD')}\u0327 `;
            if (line.length > 2000 || code === 0x10ffff) texts.push(line), line = '';
        }
        await compare(file, texts, await truth(file, texts));
    });

    test('with whole pieces that no merging makes', async () => {
        const extra = ['zqxjzqxj', spell(Buffer.from('中国中国中国人民')), spell(Buffer.from(' wombatoxx')), '==+==', 'qq'];
        const file = write('whole.json', tokenizerJson({
            merges: merges.map((m) => m.split(' ')), pre_tokenizer: families['Llama 3'], ignore_merges: true, extra, added,
        }));
        const draw = drawer(SEED + 1, [...words, 'zqxjzqxj', ' zqxjzqxj', '中国中国中国人民', '我中国中国中国人民的', ' wombatoxx', '==+==', 'qq']);
        const texts = Array.from({ length: N_RANDOM }, draw).map(old);
        texts.push('中国中国中国人民', '我中国中国中国人民的', '中国中国中国人民'.repeat(30));
        await compare(file, texts, await truth(file, texts));
    });

    test('with several merges for one token, where at most one is ever done', async () => {
        const more = [...merges];
        const known = new Set([...alphabet, ...more.map((m) => m.replace(' ', ''))]);
        for (const token of more.map((m) => m.replace(' ', ''))) {
            for (let i = 1; i < token.length; i++) {
                const merge = `${token.slice(0, i)} ${token.slice(i)}`;
                if (known.has(token.slice(0, i)) && known.has(token.slice(i)) && !more.includes(merge)) more.push(merge);
            }
        }
        assert.ok(more.length > merges.length + 20);
        const file = write('several.json', tokenizerJson({ merges: more, pre_tokenizer: byteLevel(true) }));
        const texts = corpus.split('\n');
        await compare(file, texts, await truth(file, texts));
    });
});

// What vLLM and llama.cpp count: the published chat template, rendered, and all of it tokenized with its special tokens.
const templates = {
    'ChatML (Qwen 2 to 3.5)': {
        pre_tokenizer: families['Qwen 2'], special: ['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
        render: (messages) => messages.map((m) => `<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).join('') + '<|im_start|>assistant\n',
    },
    'Llama 3': {
        pre_tokenizer: families['Llama 3'], special: ['<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'],
        render: (messages) => '<|begin_of_text|>' + [...messages.map((m) => `<|start_header_id|>${m.role}<|end_header_id|>\n\n${m.content}<|eot_id|>`),
            '<|start_header_id|>assistant<|end_header_id|>\n\n'].join(''),
    },
};
for (const [name, { pre_tokenizer, special, render }] of Object.entries(templates)) {
    test(`chats by a file with the special tokens of ${name} count as its chat template, rendered`, async () => {
        // Roles and two line ends are single tokens, as they are in those models.
        const chains = ['system', 'user', 'assistant', 'tool', spell(Buffer.from('\n\n'))].flatMap((word) =>
            Array.from({ length: word.length - 1 }, (_, i) => `${word.slice(0, i + 1)} ${word[i + 1]}`));
        const file = write(`chat-${special[1].slice(2, -2)}.json`,
            tokenizerJson({ merges: [...new Set(chains)], pre_tokenizer, added: special.map((content) => ({ content })) }));
        const chats = [
            [{ role: 'user', content: 'Hello' }],
            [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hello, 共和国!' }],
            [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b\nc' }, { role: 'tool', content: '{"x": 1}' }, { role: 'user', content: '' }],
        ];
        const lines = chats.flatMap((messages) => [messages, messages.map((m) => ({ ...m, name: 'ann' }))]);
        const { code, stdout, stderr } = await tokenize(['--encoding', file, '--jsonl'], lines.map((messages) => JSON.stringify({ messages }) + '\n').join(''));
        assert.equal(code, 0, stderr);
        const counts = stdout.trimEnd().split('\n').map((l) => JSON.parse(l).count);
        const expected = (await truth(file, chats.map(render))).map((ids) => ids.length);
        assert.deepEqual(counts, expected.flatMap((n) => [n, n]));
    });
}

test('cl100k_base in the form of Llama 3 counts as tiktoken does', async () => {
    const ranks = readFileSync(path.join(top, 'node_modules/gpt-tokenizer/data/cl100k_base.tiktoken'), 'utf8').trimEnd().split('\n')
        .map((line) => Buffer.from(line.split(' ')[0], 'base64').toString('latin1'));
    const rank = new Map(ranks.map((bytes, i) => [bytes, i]));
    const spelled = (latin1) => spell(Buffer.from(latin1, 'latin1'));
    // Every way to put a token together, those with parts of low rank first.
    const all = ranks.flatMap((token) => {
        const ways = [];
        for (let i = 1; i < token.length; i++) {
            const a = rank.get(token.slice(0, i)), b = rank.get(token.slice(i));
            if (a !== undefined && b !== undefined) ways.push([a, b]);
        }
        return ways.sort((x, y) => x[0] - y[0] || x[1] - y[1]).map(([a, b]) => `${spelled(ranks[a])} ${spelled(ranks[b])}`);
    });
    const json = tokenizerJson({ merges: [], pre_tokenizer: families['Llama 3'], ignore_merges: true });
    json.model.vocab = Object.fromEntries(ranks.map((token, i) => [spelled(token), i]));
    json.model.merges = all;
    const file = write('cl100k.json', json);
    const oracle = get_encoding('cl100k_base'), draw = drawer(SEED + 2);
    // A newer expression of tiktoken's has the long s in a contraction; whether Unicode's tables agree is tried elsewhere.
    const texts = Array.from({ length: N_RANDOM }, draw);
    await compare(file, texts, texts.map((t) => Array.from(oracle.encode_ordinary(t))));
    oracle.free();
});

describe('a model of the catalog with a tokenizer', () => {
    // Never the same twice: the beginning of a prompt that came before may cost nothing.
    let nTexts = 0;
    const nextText = () => `${++nTexts}. ` + 'tokenize_the_prompt <think> of 1234 models, 共和国 です '.repeat(40);
    const ownModel = (tokenizer) => ({
        id: '/providers/Weir.Capacity/models/OpenAI.gpt-4o.2024-08-06', properties: { tokenizer },
    });
    const resources = (url, tokenizer) => [...resourceSet([url], [deployment('ptu')]), ...(tokenizer ? [ownModel(tokenizer)] : [])];
    // What a call with this text is thought to cost on arrival, in tokens: the framing and one token of answer, 3 each, besides.
    async function assertCounted(gateway, count) {
        const text = nextText();
        const seen = gateway.lines().length;
        const response = await chatCall(gateway, { messages: [{ role: 'user', content: text }], max_tokens: 1 });
        assert.equal(response.status, 200, await response.text());
        const framing = 3 + 1 + 3; // the message, its role, and the beginning of the answer
        assert.equal((await gateway.settled(seen + 1)).at(-1).estimateMt / 1000 - 3, await count(text) + framing);
    }
    const by = (file) => async (text) => (await truth(file, [text]))[0].length;

    test('has its prompts counted by it, and by another file after a reload', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(JSON.stringify(completionOf('x', null)))));
        const small = write('small.json', tokenizerJson({ merges: merges.slice(0, 50), pre_tokenizer: byteLevel(true) }));
        const large = write('large.json', tokenizerJson({ merges, pre_tokenizer: families['Qwen 2'], added }));
        const gateway = await spawnGateway(t, { resources: resources(backend.url, small) });
        await assertCounted(gateway, by(small));
        assert.ok(await gateway.configure(resources(backend.url, large)), gateway.stderr());
        await assertCounted(gateway, by(large));
        // The same path with other content.
        writeFileSync(large, readFileSync(small));
        assert.ok(await gateway.configure(resources(backend.url, large)), gateway.stderr());
        await assertCounted(gateway, by(small));
        assert.ok(await gateway.configure(resources(backend.url)), gateway.stderr());
        const oracle = get_encoding('o200k_base');
        await assertCounted(gateway, (text) => oracle.encode_ordinary(text).length);
        oracle.free();
    });

    test('has its prompts normalized, too long ones at leisure, and only then said not to fit', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(JSON.stringify(completionOf('x', null)))));
        // Of merges one alone: an e with an accent is a token.
        const file = write('accents.json', tokenizerJson({ merges: [[...spell(Buffer.from('\u00e9'))].join(' ')], pre_tokenizer: byteLevel(true), normalizer: { type: 'NFC' } }));
        const model = ownModel(file);
        model.properties.maxContextTokens = 10000;
        const gateway = await spawnGateway(t, { resources: [...resourceSet([backend.url], [deployment('ptu', { capacity: 300 })]), model] });
        const call = (content) => chatCall(gateway, { messages: [{ role: 'user', content }], max_tokens: 1 });
        const words = (n, e) => `${n} ` + `${e.repeat(10)} `.repeat(n);
        for (const n of [10, 800, 800]) { // the longer ones are 25 KB, more than is counted at once
            const text = words(n, 'e\u0301'), seen = gateway.lines().length, count = await by(file)(text);
            const response = await call(text);
            assert.equal(response.status, 200, await response.text());
            assert.equal((await gateway.settled(seen + 1)).at(-1).promptTokens, count + 7);
        }
        const refused = await call(words(1000, 'e\u0301'));
        assert.equal(refused.status, 400);
        assert.match((await refused.json()).error.message, /maximum context length is 10000 tokens. However, your messages resulted in 11012 tokens/);
    });

    test('that cannot be read refuses the configuration, and the old one stays', async (t) => {
        const backend = await fakeBackend(t, (r) => r.write(answerBytes(JSON.stringify(completionOf('x', null)))));
        const good = write('good.json', tokenizerJson({ merges, pre_tokenizer: byteLevel(true) }));
        const bad = write('bad.json', '{"model":\n{"type":"Unigram"}}');
        const gateway = await spawnGateway(t, { resources: resources(backend.url, good) });
        assert.equal(await gateway.configure(resources(backend.url, bad)), false);
        assert.match(gateway.stderr(), /bad\.json:2: model\.type is "Unigram"/);
        assert.equal(await gateway.configure(resources(backend.url, path.join(folder, 'nowhere.json'))), false);
        assert.match(gateway.stderr(), /nowhere\.json: .*No such file/);
        await assertCounted(gateway, by(good));
        const none = await spawnGateway(t, { resources: resources(backend.url, bad), folder: tempFolder(), mayFail: true });
        await until(() => none.hasEnded());
        assert.match(none.stderr(), /bad\.json:2: /);
    });

    test('that cannot be read is refused by the control plane too, which stores nothing of it', { timeout: 60000 }, async (t) => {
        const good = write('kept.json', tokenizerJson({ merges, pre_tokenizer: byteLevel(true) }));
        const bad = write('wrong.json', '{"model":\n{"type":"Unigram"}}');
        const data = tempFolder(t), resources = operatorsResources('http://127.0.0.1:9');
        const c = await spawnControl(t, { resources, folder: data });
        c.token = await tokenOf(c.control);
        const put = (tokenizer) => ask(c, 'PUT', `${ownModel().id}${v}`, { properties: { tokenizer } });
        const kept = async () => (await ask(c, 'GET', `${ownModel().id}${v}`)).json().properties?.tokenizer;
        const refused = async (file, says) => {
            const a = await put(file);
            assert.equal(a.status, 400, a.body);
            assert.equal(a.json().error.target, 'properties.tokenizer');
            assert.match(a.json().error.message, says);
        };
        await refused(bad, /wrong\.json:2: .*model\.type is "Unigram"/);
        await refused(path.join(folder, 'nowhere.json'), /nowhere\.json: .*No such file/);
        assert.equal(await kept(), undefined);
        assert.equal((await put(good)).status, 201);
        await refused(bad, /wrong\.json/);
        assert.equal(await kept(), good);
        const other = write('other.json', tokenizerJson({ merges: ['a b'], pre_tokenizer: byteLevel(true) }));
        const putFor = (gateway, model, tokenizer) => ask(gateway, 'PUT', `/providers/Weir.Capacity/models/OpenAI.${model}.1${v}`, {
            properties: { tokenizer, inputTpmPerPtu: 2500, outputWeight: 4 },
        });
        assert.equal((await putFor(c, 'x-other', other)).status, 201);
        // A file that goes afterwards stops nobody: neither the same resource once more, nor the next start.
        rmSync(good);
        assert.equal((await put(good)).status, 200);
        assert.equal((await c.gateway.stop()).code, 0);
        const again = await spawnControl(t, { resources, folder: data });
        assert.match(again.gateway.stderr(), /kept\.json/);
        // What the start could not read is refused when it is named anew, and the others are as they were.
        again.token = await tokenOf(again.control);
        for (let i = 0; i < 3; i++) {
            assert.equal((await putFor(again, 'x-another', good)).status, 400);
            assert.ok([200, 201].includes((await putFor(again, 'x-third', other)).status));
        }
        assert.equal((await again.gateway.stop()).code, 0);
    });
});

describe('while a large tokenizer is read', () => {
    // As many tokens as the largest published ones have: a good part of a second of a core.
    function largeOne() {
        const letters = 'abcdefghijklmnopqrstuvwxyz'.split(''), json = tokenizerJson({ merges: [], pre_tokenizer: byteLevel(true) });
        let longest = letters, n = Object.keys(json.model.vocab).length;
        for (let length = 2; length <= 4; length++) {
            const longer = [];
            for (const a of longest) {
                for (const b of letters) {
                    if (n === 180000) break;
                    json.model.merges.push(`${a} ${b}`);
                    json.model.vocab[a + b] = n++;
                    longer.push(a + b);
                }
            }
            longest = longer;
        }
        return JSON.stringify(json);
    }

    const timeout = 280000; // seconds of computing under a sanitizer, and many times that beside other work
    let c, text, nFiles = 0;
    const model = (name) => `/providers/Weir.Capacity/models/OpenAI.${name}.1${v}`;
    const bodyOf = (tokenizer) => ({ properties: { tokenizer, inputTpmPerPtu: 2500, outputWeight: 4 } });
    const nextFile = () => write(`large-${++nFiles}.json`, text);
    before(async () => {
        text = largeOne();
        c = await spawnControl(null, { resources: operatorsResources('http://127.0.0.1:9') });
        c.token = await tokenOf(c.control);
    });
    after(() => c.gateway.stop());

    // Whether `fn` comes to its end several times while so many files are read. If not, they are read once more: the
    // machine may have been busy elsewhere.
    async function severalWhileReading(nFiles, fn) {
        await until(async () => {
            const reading = Promise.all(Array.from({ length: nFiles }, (_, i) => ask(c, 'PUT', model(`x-large-${i}`), bodyOf(nextFile()))));
            let isOver = false, n = 0;
            reading.finally(() => (isOver = true)).catch(() => {});
            while (!isOver) {
                await fn();
                if (!isOver) n++;
            }
            for (const a of await reading) assert.ok([200, 201].includes(a.status), a.body);
            return n >= 5;
        }, 200000);
    }

    test('other changes are made', { timeout }, async () => {
        let n = 0;
        await severalWhileReading(1, async () => {
            const a = await ask(c, 'PUT', `/providers/Weir.Capacity/locations/eastus${v}`, { properties: { displayName: `East ${++n}`, dataZone: 'us' } });
            assert.equal(a.status, 200, a.body);
        });
    });

    test('tokens are issued, however many tokenizers wait', { timeout }, () => severalWhileReading(6, () => tokenOf(c.control)));

    test('its client may leave: the change is made', { timeout }, async () => {
        const before = Array.from({ length: 4 }, (_, i) => ask(c, 'PUT', model(`x-before-${i}`), bodyOf(nextFile())));
        const url = new URL(c.control.controlEndpoint + model('x-left'));
        const q = https.request(url, { method: 'PUT', ca: readFileSync(c.control.caFile), headers: { authorization: `Bearer ${c.token}` } });
        q.on('error', () => {});
        q.on('finish', () => q.destroy());
        q.end(JSON.stringify(bodyOf(nextFile())));
        await until(async () => (await ask(c, 'GET', model('x-left'))).status === 200, 200000);
        for (const a of await Promise.all(before)) assert.equal(a.status, 201, a.body);
    });
});

test('a file that cannot be used is refused with its name, the line and what is understood', async () => {
    const good = tokenizerJson({ merges: ['a b'], pre_tokenizer: byteLevel(true) });
    const lines = JSON.stringify(good, null, 1);
    const line = lines.split('\n').findIndex((l) => l.includes('"a b"')) + 1;
    const wrong = [
        ['cut.json', lines.slice(0, -20), /cut\.json: at byte \d+ \(line \d+, column \d+\)/],
        ['empty.json', '', /empty\.json: the file is empty/],
        ['text.json', 'no JSON', /text\.json: at byte 0/],
        ['array.json', '[]', /array\.json:1: has no object "model"/],
        ['merge.json', lines.replace('"a b"', '"a b c"'), new RegExp(`merge\\.json:${line}: model\\.merges\\[0\\] is neither`)],
        ['deep.json', '['.repeat(100000), /deep\.json: at byte \d+/],
        ['unigram.json', JSON.stringify({ ...good, model: { type: 'Unigram', vocab: [] } }), /model\.type is "Unigram"; only byte-level BPE/],
        ['metaspace.json', JSON.stringify({ ...good, pre_tokenizer: { type: 'Metaspace' } }), /pre_tokenizer is of another kind: understood are/],
    ];
    for (const [name, text, says] of wrong) {
        const { code, stdout, stderr } = await tokenize(['--encoding', write(name, text), 'x'], '');
        assert.equal(code, 1, name);
        assert.equal(stdout, '');
        assert.match(stderr, says);
    }
    const missing = await tokenize(['--encoding', path.join(folder, 'nowhere.json'), 'x'], '');
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /nowhere\.json: .*No such file/);
    const isFolder = await tokenize(['--encoding', folder, 'x'], '');
    assert.equal(isFolder.code, 1);
    assert.match(isFolder.stderr, /directory/);
});
