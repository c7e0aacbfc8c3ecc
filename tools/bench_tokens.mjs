#!/usr/bin/env node
// Measures exact token counting beside OpenAI's own tokenizer and others from npm, on texts of this machine.
//
//   bench_tokens.mjs WEIR [--rounds N] [--mb N] [--out FILE]
//
// Three corpora from files that Debian packages brought: English manuals, source code, and manuals in
// Chinese, Japanese, Korean and other scripts with the names of emoji. Each is cut into messages of
// 8,192 UTF-16 units and counted with o200k_base by everyone in turn, round by round, so that what
// else the machine does hits all alike. Ratios are of the same round; their medians are printed.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const top = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const PEERS = { 'ai-tokenizer': '1.0.6', '@anysphere/tiktoken-node': '0.2.1' };
const MESSAGE = 8192;

const [weir, ...rest] = process.argv.slice(2);
if (!weir) {
    console.error('usage: bench_tokens.mjs WEIR [--rounds N] [--mb N] [--out FILE]');
    process.exit(2);
}
const option = (name, otherwise) => (rest.includes(name) ? rest[rest.indexOf(name) + 1] : otherwise);
const rounds = Number(option('--rounds', 3)), bytesWanted = Number(option('--mb', 5)) * 1e6;

// --- corpora ---

function* filesBelow(folder) {
    let entries = [];
    try {
        entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch { return; }
    for (const e of entries) {
        if (e.isDirectory()) yield* filesBelow(path.join(folder, e.name));
        else if (e.isFile()) yield path.join(folder, e.name);
    }
}

function textOf(file) {
    try {
        const bytes = readFileSync(file);
        return new TextDecoder('utf-8', { fatal: true }).decode(file.endsWith('.gz') ? gunzipSync(bytes) : bytes);
    } catch { return ''; }
}

// Names of emoji and other characters, each behind what it names.
const annotations = (xml) => [...xml.matchAll(/<annotation cp="([^"]+)"[^>]*>([^<]+)</g)].map((m) => `${m[1]} ${m[2]}`).join('\n');

// Texts of up to 40,000 units of many files, every nth so that all folders have a part, up to the size wanted.
function corpus(name, folders, wanted) {
    const files = folders.flatMap((f) => [...filesBelow(f)]).filter((f) => wanted.test(f));
    const step = 617; // a prime that divides none of the counts: a fixed shuffle
    let text = '', bytes = 0;
    for (let i = 0; i < files.length && bytes < bytesWanted; i++) {
        const file = files[(i * step) % files.length];
        const whole = textOf(file), part = (file.endsWith('.xml') ? annotations(whole) : whole).slice(0, 40000);
        if (part.length < 500) continue;
        text += part.toWellFormed() + '\n';
        bytes += Buffer.byteLength(part);
    }
    if (bytes < bytesWanted)
        console.error(`${name}: only ${(bytes / 1e6).toFixed(1)} MB; man-db, manpages-zh and unicode-cldr-core would bring more`);
    const messages = [];
    for (let at = 0; at < text.length;) {
        let end = Math.min(at + MESSAGE, text.length);
        if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
        messages.push(text.slice(at, end));
        at = end;
    }
    return { name, messages, bytes: Buffer.byteLength(text) };
}

const man = '/usr/share/man';
const corpora = [
    corpus('English manuals', [`${man}/man1`, `${man}/man3`, `${man}/man7`, `${man}/man8`, '/usr/share/doc'], /\.gz$|\.txt$/),
    corpus('source code', ['/usr/lib/python3', '/usr/lib/python3.11', '/usr/include', '/usr/share/perl', '/usr/share/nodejs'],
        /\.(py|h|hpp|c|pm|js|mjs|ts)$/),
    corpus('CJK and emoji', ['ja', 'ko', 'zh_CN', 'zh_TW', 'ru', 'uk'].map((l) => `${man}/${l}`)
        .concat('/usr/share/unicode/cldr/common/annotations'), /\.gz$|\/(zh|zh_Hant|yue|ja|ko|ru|th|hi|ar|en)\.xml$/),
];

// --- who counts ---

function peers() {
    const folder = path.join(top, 'build/bench-tokens');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: PEERS }));
    if (!Object.keys(PEERS).every((p) => existsSync(path.join(folder, 'node_modules', p))))
        execFileSync('npm', ['install', '--no-fund', '--no-audit', '--loglevel=error'], { cwd: folder, stdio: 'inherit' });
    return createRequire(path.join(folder, 'package.json'));
}

const ours = createRequire(path.join(top, 'package.json'));
const theirs = peers();
const counters = {};
const oracle = ours('tiktoken').get_encoding('o200k_base');
counters.tiktoken = (text) => oracle.encode_ordinary(text).length;
const { encode } = ours('gpt-tokenizer/cjs/encoding/o200k_base');
counters['gpt-tokenizer'] = (text) => encode(text, { disallowedSpecial: new Set() }).length;
try {
    const { getTokenizer, SupportedEncoding } = theirs('@anysphere/tiktoken-node'), one = getTokenizer();
    await one.exactNumTokensNoSpecialTokens('warm', SupportedEncoding.O200k);
    // It counts on a thread of its own; awaited one by one, so that one thread works.
    counters['@anysphere/tiktoken-node'] = (text) => one.exactNumTokensNoSpecialTokens(text, SupportedEncoding.O200k);
} catch (e) {
    console.error(`@anysphere/tiktoken-node: left out, ${e.message}`);
}
try {
    const ai = theirs('ai-tokenizer'), encoding = theirs('ai-tokenizer/encoding/o200k_base');
    const one = new (ai.default ?? ai.Tokenizer)(encoding.default ?? encoding);
    one.encode('warm');
    counters['ai-tokenizer'] = (text) => {
        try { return one.encode(text).length; } catch { return 0; } // it throws on some texts
    };
} catch (e) {
    console.error(`ai-tokenizer: left out, ${e.message}`);
}

function weirRound(lines) {
    const done = spawnSync(weir, ['tokenize', '--jsonl', '--rounds', '2'], { input: lines, maxBuffer: 1 << 20 });
    if (done.status !== 0) throw new Error(done.stderr.toString());
    return done.stdout.toString().trim().split('\n').map((l) => JSON.parse(l));
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const result = [];
for (const { name, messages, bytes } of corpora) {
    const lines = messages.map((text) => JSON.stringify({ text }) + '\n').join('');
    const speeds = { 'Weir, first': [], Weir: [] };
    let exact;
    for (let round = 0; round < rounds + 1; round++) {
        const [first, again] = weirRound(lines);
        const now = { 'Weir, first': bytes / first.us, Weir: bytes / again.us };
        for (const [who, count] of Object.entries(counters)) {
            const from = performance.now();
            let tokens = 0;
            for (const m of messages) tokens += await count(m);
            now[who] = bytes / (performance.now() - from) / 1000;
            if (who === 'tiktoken') exact = tokens;
        }
        if (exact !== first.count) throw new Error(`${name}: ${first.count} tokens, and tiktoken says ${exact}`);
        if (round === 0) continue; // everybody's first time
        for (const [who, speed] of Object.entries(now)) (speeds[who] ??= []).push(speed);
    }
    const row = { name, bytes, tokens: exact, mbPerS: {}, ratio: {}, firstRatio: {} };
    for (const who of Object.keys(speeds)) {
        row.mbPerS[who] = median(speeds[who]);
        row.ratio[who] = median(speeds.Weir.map((s, i) => s / speeds[who][i]));
        row.firstRatio[who] = median(speeds['Weir, first'].map((s, i) => s / speeds[who][i]));
    }
    result.push(row);
    console.log(`\n${name}: ${(bytes / 1e6).toFixed(1)} MB, ${exact} tokens`);
    for (const who of Object.keys(speeds))
        console.log(`  ${who.padEnd(26)} ${row.mbPerS[who].toFixed(1).padStart(7)} MB/s   Weir is ${row.ratio[who].toFixed(1)} x as fast, a fresh process ${row.firstRatio[who].toFixed(1)} x`);
}

// --- one piece without end: how the time grows ---

console.log('\none word without end, MB/s of 1 MB and of 4 MB');
const worst = {};
let seed = 1;
const below = (n) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0, Math.floor(seed / 4294967296 * n));
for (const [name, letters] of [['a', 'a'], ['-', '-'], ['=', '='], ['blanks', ' '], ['random letters', 'abcdefghijklmnopqrstuvwxyz'],
    ['random Han', null], ['- and = in turns of chance', '-=']]) {
    worst[name] = [1, 4].map((mb) => {
        let text = '';
        while (text.length < mb << 20) text += letters ? letters[below(letters.length)] : String.fromCodePoint(0x4e00 + below(0x5000));
        const times = weirRound(JSON.stringify({ text }) + '\n');
        return times[1].bytes / times[1].us;
    });
    console.log(`  ${name.padEnd(26)} ${worst[name].map((s) => s.toFixed(1).padStart(8)).join('')}`);
}

const hot = corpora[0].messages[10];
const many = weirRound((JSON.stringify({ text: hot }) + '\n').repeat(2000))[1];
const from = performance.now();
for (let i = 0; i < 50; i++) counters.tiktoken(hot);
const theirsUs = (performance.now() - from) * 1000 / 50;
console.log(`\none message of 8 KB again and again: ${(many.us / many.texts).toFixed(1)} us; tiktoken ${theirsUs.toFixed(0)} us`);
if (option('--out')) writeFileSync(option('--out'), JSON.stringify({ corpora: result, worst, hotUs: many.us / many.texts, tiktokenUs: theirsUs }, null, 1));
