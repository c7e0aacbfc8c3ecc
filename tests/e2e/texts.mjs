// texts.mjs - random texts for tokenizers, and `weir tokenize` on them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { weirBin } from './support.mjs';

// `weir tokenize ARGS` with `input` on its standard input: { code, stdout, stderr }.
export async function tokenize(args, input) {
    const child = spawn(weirBin, ['tokenize', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    const out = [];
    let stderr = '';
    child.stdout.on('data', (b) => out.push(b));
    child.stderr.setEncoding('utf8').on('data', (s) => (stderr += s));
    child.stdin.on('error', () => {}); // it may end before it has read all
    child.stdin.end(input);
    const [code] = await once(child, 'close');
    return { code, stdout: Buffer.concat(out).toString(), stderr };
}

// Texts that put characters of all kinds side by side, with long runs and words that tokens are made of;
// `more` are further words.
export function drawer(seed, more = []) {
    const below = (n) => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor(seed / 4294967296 * n);
    };
    const alphabets = ['abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '0123456789', '  \t\n\r', ' ',
        '!"#$%&\'()*+,-./:;<=>?@[]^_`{|}~\\', "'", "'sStTrReEvVlLmMdD\u017f", '\u0301\u0300\u20dd\u093e', 'éàüßñçœ', 'АБВгде',
        '中文字符的一是不了人', 'あいうえおカタカナ', '한국어글자', '😀🚀👍🏽\u200d👩', '٠١٢३४½Ⅷ', '\u00a0\u3000\u2003\u0085\ufeff\u2028',
        'ʰʱǅǈªº', 'אבגדהابت', 'ไทยกขค', '\u0000\u0001\u007f', '/\n\r/'].map((s) => Array.from(s));
    const words = ['the ', 'Hello', ' world', "don't", "I'LL", 'http://', 'foo_bar', 'camelCaseWord', 'XMLHttpRequest', '    ',
        '\n\n', '--------', '====', '123456', '<|endoftext|>', '中国', '共和国', 'です', 'ました', ' Привет', '합니다', '🎉', '\r\n', '…', "'ſ", ...more];
    const character = () => {
        const code = below(2) ? below(0x3000) : below(0x110000);
        return code >= 0xd800 && code < 0xe000 ? 'A' : String.fromCodePoint(code);
    };
    return () => {
        const n = 1 + below(below(8) ? 20 : 120), mode = below(6);
        let s = '';
        for (let i = 0; i < n; i++) {
            const kind = mode === 0 ? below(4) : below(40);
            const some = mode === 2 ? alphabets[8 + below(12)] : mode === 3 ? alphabets[[0, 1, 3, 6, 7, 8][below(6)]]
                : alphabets[below(alphabets.length)];
            if (kind === 0) s += words[below(words.length)];
            else if (kind === 1 && mode !== 1) s += character();
            else if (kind === 2) s += some[below(some.length)].repeat(1 + below(60));
            else for (let k = below(6); k >= 0; k--) s += some[below(some.length)];
        }
        return s;
    };
}
