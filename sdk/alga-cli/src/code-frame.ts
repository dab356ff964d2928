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
    const text = (lines[number - 1] ?? '').replaceAll('\t', '  ');
    const mark = number === line ? '>' : ' ';
    out.push(`  ${mark} ${String(number).padStart(width)} | ${text}`.trimEnd());
    if (number === line && column !== undefined) {
      const before = (lines[number - 1] ?? '').slice(0, column - 1).replaceAll('\t', '  ');
      out.push(`    ${' '.repeat(width)} | ${' '.repeat(before.length)}^`);
    }
  }
  return out.join('\n');
}
