// What Grafana's Prometheus data source does with a panel's targets, rewritten from its documented
// behaviour: step from the panel's width, $__rate_interval, one frame per series, or a table per query.
import { DataFrame, FieldType, TimeRange, rangeUtil } from '@grafana/data';

const SCRAPE_MS = 15_000; // timeInterval of grafana/provisioning/datasources

export type Variables = Record<string, string>;

export function interpolate(text: string, variables: Variables): string {
  return text.replace(/\$\{(\w+)(?::[^}]*)?\}|\$([a-zA-Z_]\w*)/g, (all, a, b) => variables[a ?? b] ?? all);
}

function legend(format: string, labels: Record<string, string>): string {
  if (!format) {
    const inner = Object.entries(labels).filter(([k]) => k !== '__name__').map(([k, v]) => `${k}="${v}"`);
    return (labels.__name__ ?? '') + (inner.length ? `{${inner.join(', ')}}` : '');
  }
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
}

export interface Asked {
  name: string;
  query: string;
  series: number;
  steps: number;
  samples: number;
  seconds: number;
  error?: string;
}

export interface Ran {
  frames: DataFrame[];
  asked: Asked[];
}

const at = { base: '' };
export const useBase = (base: string) => (at.base = base);

async function ask(path: string, parameters: Record<string, string>) {
  const answer = await fetch(`${at.base}/api/v1/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(parameters).toString(),
  });
  return answer.json();
}

export function steps(range: TimeRange, width: number, least = '15s') {
  const interval = rangeUtil.calculateInterval(range, width, least).intervalMs;
  return { interval, rate: Math.max(interval + SCRAPE_MS, 4 * SCRAPE_MS) };
}

export function time(range: TimeRange, width: number, least?: string): Variables {
  const { interval, rate } = steps(range, width, least);
  const seconds = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
  return {
    __interval: `${interval / 1000}s`,
    __interval_ms: String(interval),
    __rate_interval: `${rate / 1000}s`,
    __range: `${seconds}s`,
    __range_s: String(seconds),
  };
}

export async function run(targets: any[], variables: Variables, range: TimeRange, width: number, least?: string): Promise<Ran> {
  const { interval } = steps(range, width, least);
  const all = { ...variables, ...time(range, width, least) };
  const result: Ran = { frames: [], asked: [] };
  const tables: Array<{ refId: string; rows: any[] }> = [];
  for (const target of targets) {
    const query = interpolate(target.expr, all);
    const to = range.to.valueOf() / 1000;
    const step = interval / 1000;
    const answer = target.instant
      ? await ask('query', { query, time: String(to), stats: 'all' })
      : await ask('query_range', {
          query,
          start: String(Math.floor(range.from.valueOf() / 1000 / step) * step),
          end: String(Math.floor(to / step) * step),
          step: String(step),
          stats: 'all',
        });
    const steps = target.instant ? 1 : Math.floor((to - range.from.valueOf() / 1000) / step) + 1;
    if (answer.status !== 'success') {
      result.asked.push({ name: target.legendFormat ?? '', query, series: 0, steps, samples: 0, seconds: 0, error: `${target.refId}: ${answer.error}` });
      continue;
    }
    const rows = answer.data.resultType === 'scalar' ? [{ metric: {}, value: answer.data.result }] : answer.data.result;
    const { samples, timings } = answer.data.stats;
    result.asked.push({ name: target.legendFormat ?? '', query, series: rows.length, steps, samples: samples.totalQueryableSamples, seconds: timings.evalTotalTime });
    if (target.format === 'table') {
      tables.push({ refId: target.refId, rows });
      continue;
    }
    for (const row of rows) {
      const samples: Array<[number, string]> = row.values ?? [row.value];
      let times = samples.map(([t]) => t * 1000);
      let values: Array<number | null> = samples.map(([, v]) => Number(v));
      if (row.values) {
        // Gaps are nulls at the steps without a sample.
        const filled: Array<number | null> = [];
        const every: number[] = [];
        const known = new Map(samples.map(([t, v]) => [Math.round(t * 1000), Number(v)]));
        const first = Math.floor(range.from.valueOf() / 1000 / step) * step * 1000;
        for (let t = first; t <= to * 1000; t += interval) {
          every.push(t);
          filled.push(known.get(Math.round(t)) ?? null);
        }
        times = every;
        values = filled;
      }
      const { ...labels } = row.metric;
      result.frames.push({
        refId: target.refId,
        length: times.length,
        meta: { type: 'timeseries-multi' as any, typeVersion: [0, 1] },
        fields: [
          { name: 'Time', type: FieldType.time, config: { interval }, values: times },
          {
            name: 'Value',
            type: FieldType.number,
            labels,
            config: { displayNameFromDS: legend(target.legendFormat, row.metric) },
            values,
          },
        ],
      });
    }
  }
  // One data frame without values stays as it is; several are a table each, named by their refId.
  for (const { refId, rows } of tables) {
    const name = tables.length > 1 ? `Value #${refId}` : 'Value';
    const labels: string[] = [];
    for (const row of rows) for (const label of Object.keys(row.metric).sort()) if (!labels.includes(label)) labels.push(label);
    result.frames.push({
      refId,
      length: rows.length,
      meta: { preferredVisualisationType: 'table' as any },
      fields: [
        { name: 'Time', type: FieldType.time, config: {}, values: rows.map((r) => r.value[0] * 1000) },
        ...labels.map((label) => ({
          name: label,
          type: FieldType.string,
          config: { filterable: true },
          values: rows.map((r) => r.metric[label] ?? ''),
        })),
        { name, type: FieldType.number, config: {}, values: rows.map((r) => Number(r.value[1])) },
      ],
    });
  }
  return result;
}

export interface Region {
  from: number;
  to: number;
  labels: Record<string, string>;
}

/** The values of a variable that Prometheus gives: ``label_values(selector, label)``. */
export async function labelValues(query: string, variables: Variables, range: TimeRange): Promise<string[]> {
  const [, selector, label] = /^label_values\((.+),\s*(\w+)\)$/.exec(interpolate(query, variables))!;
  const answer = await ask('series', { 'match[]': selector, start: String(range.from.valueOf() / 1000), end: String(range.to.valueOf() / 1000) });
  return [...new Set<string>((answer.data ?? []).map((series: any) => series[label]).filter(Boolean))].sort();
}

/** The dashboard's annotation query, as regions. */
export async function annotations(expr: string, variables: Variables, range: TimeRange): Promise<Region[]> {
  const span = (range.to.valueOf() - range.from.valueOf()) / 1000;
  const step = Math.max(60, Math.ceil(span / 11_000));
  const answer = await ask('query_range', {
    query: interpolate(expr, variables),
    start: String(range.from.valueOf() / 1000),
    end: String(range.to.valueOf() / 1000),
    step: String(step),
  });
  const regions: Region[] = [];
  for (const row of answer.data?.result ?? []) {
    let from: number | null = null;
    let last = 0;
    for (const [t, v] of row.values as Array<[number, string]>) {
      if (Number(v) <= 0) continue;
      if (from !== null && t - last > 2 * step) {
        regions.push({ from: from * 1000, to: last * 1000, labels: row.metric });
        from = t;
      }
      from ??= t;
      last = t;
    }
    if (from !== null) regions.push({ from: from * 1000, to: last * 1000, labels: row.metric });
  }
  return regions;
}
