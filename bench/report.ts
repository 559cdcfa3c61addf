/** The figures as a table, as JSON and as a chart. */
import type { Comparison, Spread } from './measure.js';

/** One line of the table. */
export interface Row extends Partial<Comparison> {
  what: string;
  rival?: string;
  ours: Spread;
  unit?: 'ms' | 'MB' | '%';
  /** The least ratio of the rival's time to ours, or the greatest value in the unit. */
  goal?: { ratio: number } | { atMost: number };
  note?: string;
}

/** Whether a row reaches its goal; `undefined`: it has none. */
export function isMet({ goal, ratio, ours }: Row): boolean | undefined {
  if (goal === undefined) return undefined;
  return 'ratio' in goal ? (ratio?.median ?? 0) >= goal.ratio : ours.median <= goal.atMost;
}

export function table(rows: readonly Row[]): string {
  const lines = rows.map(row => {
    const { what, rival = '', ours, theirs, ratio, goal, unit = 'ms', note = '' } = row;
    const wanted =
      goal === undefined ? '' : 'ratio' in goal ? `≥ ${number(goal.ratio)} ×` : `≤ ${goal.atMost} ${unit}`;
    const met = { true: 'yes', false: 'no', undefined: '' }[String(isMet(row))] ?? '';
    return [
      what,
      `${number(ours.median)} ${unit}`,
      rival,
      theirs ? `${number(theirs.median)} ${unit}` : '',
      ratio ? `${number(ratio.median)} × (${number(ratio.min)}–${number(ratio.max)})` : '',
      wanted,
      met,
      note,
    ];
  });
  const all = [['what', 'ours', 'rival', 'theirs', 'theirs / ours', 'goal', 'met', ''], ...lines];
  const widths = all[0]?.map((_, i) => Math.max(...all.map(line => line[i]?.length ?? 0))) ?? [];
  const [head, ...body] = all.map(
    line => `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`,
  );
  return [head, `|${widths.map(width => '-'.repeat(width + 2)).join('|')}|`, ...body].join('\n');
}

function number(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
}

/** A line of the chart: milliseconds by the number of users. */
export interface Series {
  name: string;
  points: Array<[users: number, ms: number]>;
}

const WIDTH = 720;
const HEIGHT = 420;
const MARGIN = { left: 70, right: 190, top: 40, bottom: 50 };
const COLOURS = ['#0b6e4f', '#c0392b', '#b9770e', '#5b6770'];

/** A chart in SVG, with two logarithmic axes. */
export function chart(title: string, series: readonly Series[]): string {
  const users = series.flatMap(({ points }) => points.map(([x]) => x));
  const times = series.flatMap(({ points }) => points.map(([, y]) => y));
  const [x0, x1] = [Math.floor(Math.log10(Math.min(...users))), Math.ceil(Math.log10(Math.max(...users)))];
  const [y0, y1] = [Math.floor(Math.log10(Math.min(...times))), Math.ceil(Math.log10(Math.max(...times)))];
  const x = (value: number) =>
    MARGIN.left + ((Math.log10(value) - x0) / (x1 - x0)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value: number) =>
    HEIGHT - MARGIN.bottom - ((Math.log10(value) - y0) / (y1 - y0)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${MARGIN.left}" y="24" font-size="15" font-weight="bold">${title}</text>`,
  ];
  for (let power = x0; power <= x1; power++) {
    const at = x(10 ** power);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${MARGIN.top}" y2="${HEIGHT - MARGIN.bottom}" stroke="#ddd"/>`,
      `<text x="${at}" y="${HEIGHT - MARGIN.bottom + 20}" text-anchor="middle">${(10 ** power).toLocaleString('en')}</text>`,
    );
  }
  for (let power = y0; power <= y1; power++) {
    const at = y(10 ** power);
    parts.push(
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}" stroke="#ddd"/>`,
      `<text x="${MARGIN.left - 8}" y="${at + 4}" text-anchor="end">${10 ** power} ms</text>`,
    );
  }
  parts.push(
    `<text x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${HEIGHT - 8}" text-anchor="middle">users in the file</text>`,
  );
  for (const [i, { name, points }] of series.entries()) {
    const colour = COLOURS[i % COLOURS.length];
    const last = points.at(-1) ?? [1, 1];
    parts.push(
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ')}"/>`,
      ...points.map(
        ([a, b]) => `<circle cx="${x(a).toFixed(1)}" cy="${y(b).toFixed(1)}" r="3" fill="${colour}"/>`,
      ),
      `<text x="${x(last[0]) + 8}" y="${y(last[1]) + 4}" fill="${colour}">${name}</text>`,
    );
  }
  return `${[...parts, '</svg>'].join('\n')}\n`;
}
