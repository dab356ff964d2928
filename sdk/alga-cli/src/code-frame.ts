/** Characters of a line that are shown: what a tool has written may all be on one. */
const LONGEST = 200;

/** Text as terminals show it: what would move their cursor or colour them is no part of a source. */
function printable(text: string): string {
  return text
    .replaceAll('\t', '  ')
    .replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '�');
}

/**
 * The lines around a position, with line numbers and a caret:
 *
 *       6 | export default handler(async () => {
 *     > 7 |   return json(missing);
 *         |               ^
 *
 * @param line starts at 1
 * @param column starts at 1; without it no caret is drawn
 */
export function codeFrame(source: string, line: number, column?: number, around = 2): string {
  const lines = source.split(/\r?\n/);
  const first = Math.max(1, line - around);
  const last = Math.min(lines.length, line + around);
  const width = String(last).length;
  const out: string[] = [];
  for (let number = first; number <= last; number += 1) {
    const text = lines[number - 1] ?? '';
    const from = Math.max(0, (column ?? 1) - 1 - LONGEST / 2);
    const part = text.slice(from, from + LONGEST);
    const mark = number === line ? '>' : ' ';
    out.push(`  ${mark} ${String(number).padStart(width)} | ${printable(part)}`.trimEnd());
    if (number === line && column !== undefined) {
      const before = printable(text.slice(from, column - 1));
      out.push(`    ${' '.repeat(width)} | ${' '.repeat(before.length)}^`);
    }
  }
  return out.join('\n');
}
