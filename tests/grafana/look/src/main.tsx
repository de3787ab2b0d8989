// Draws a dashboard of grafana/dashboards with Grafana's UI library, and reports what is to be seen.
import React, { useEffect, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { lastValueFrom } from 'rxjs';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, DashboardCursorSync, DataFrame, dateMath, dateTime, EventBusSrv, FieldType,
  getDisplayValueAlignmentFactors, getFieldDisplayName, getFieldDisplayValues, getFieldSeriesColor, GrafanaTheme2, outerJoinDataFrames,
  rangeUtil, renderMarkdown, ThemeContext, TimeRange, transformDataFrame,
} from '@grafana/data';
import {
  BarGauge, BigValue, Gauge, GlobalStyles, PanelChrome, PanelContextProvider, PortalContainer, Table, TimeSeries, VizRepeater,
} from '@grafana/ui';
import { annotations, Asked, interpolate, labelValues, Ran, Region, run, time, useBase, Variables } from './prometheus';
import { CUSTOM_DEFAULTS, initialise, registry } from './fields';
import { cut, legendOf, settled } from './measure';

initialise();
const ZONE = 'Asia/Ho_Chi_Minh';
const eventBus = new EventBusSrv();

interface Page {
  dashboard: any;
  asked: URLSearchParams;
  theme: GrafanaTheme2;
  range: TimeRange;
  variables: Variables;
  shown: Array<[string, string]>;
  titles: string[];
  regions: Array<Region & { colour: string }>;
  done: (id: number, report: any) => void;
}

function rangeOf(from: string, to: string): TimeRange {
  const at = (text: string, up: boolean) => dateMath.toDateTime(text, { roundUp: up, timezone: ZONE } as any) ?? dateTime(text);
  const end = at(to, true)!;
  const days = /^now-(\d+)([dhm])$/.exec(from);
  // Of a past moment too: "from=now-90d" is 90 days before "to".
  const begin = days ? dateTime(end).subtract(Number(days[1]), days[2] as any) : at(from, false)!;
  return { from: begin, to: end, raw: days && to !== 'now' ? { from: begin, to: end } : { from, to } };
}

async function variablesOf(dashboard: any, asked: URLSearchParams, range: TimeRange) {
  const values: Variables = {};
  const shown: Array<[string, string]> = [];
  for (const v of dashboard.templating.list) {
    let value = asked.get(`var-${v.name}`) ?? v.current?.value;
    let text = v.options?.find((o: any) => o.value === value)?.text ?? v.current?.text ?? value;
    if (value === '$__all') value = v.allValue ?? '.*';
    else if (v.type === 'query') {
      const found = await labelValues(v.query.query ?? v.query, { ...values, ...time(range, 1000) }, range);
      if (!found.includes(value)) text = value = found[0] ?? '';
    }
    values[v.name] = String(value);
    if (v.hide !== 2) shown.push([v.hide === 1 ? '' : v.label ?? v.name, String(text)]);
  }
  return { values, shown };
}

function fieldsOf(page: Page, panel: any, frames: DataFrame[]) {
  const config = panel.fieldConfig ?? { defaults: {}, overrides: [] };
  const defaults = { ...config.defaults, custom: { ...CUSTOM_DEFAULTS[panel.type], ...config.defaults?.custom } };
  return applyFieldOverrides({
    data: frames, fieldConfig: { defaults, overrides: config.overrides ?? [] }, replaceVariables: (s: string) => interpolate(s, page.variables),
    theme: page.theme, timeZone: ZONE, fieldConfigRegistry: registry as any,
  });
}

function displayed({ page, panel, frames, sparkline }: any) {
  return getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: { values: false, fields: '', ...panel.options.reduceOptions },
    replaceVariables: (s: string) => interpolate(s, page.variables), theme: page.theme, data: frames, sparkline, timeZone: ZONE,
  } as any);
}

function Stat({ page, panel, frames, width, height }: any) {
  const o = panel.options;
  return (
    <VizRepeater
      getValues={() => displayed({ page, panel, frames, sparkline: o.graphMode !== 'none' })} getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      width={width} height={height} source={frames} itemSpacing={3} renderCounter={0} autoGrid orientation={o.orientation ?? 'auto'}
      renderValue={({ value, alignmentFactors, width, height, count }: any) => (
        <BigValue
          value={value.display} count={count} sparkline={value.sparkline} colorMode={o.colorMode} graphMode={o.graphMode} justifyMode={o.justifyMode}
          textMode={o.textMode} alignmentFactors={alignmentFactors} text={o.text} width={width} height={height} theme={page.theme} wideLayout={o.wideLayout}
        />
      )}
    />
  );
}

function Bars({ page, panel, frames, width, height }: any) {
  const o = panel.options;
  const Component: any = panel.type === 'gauge' ? Gauge : BarGauge;
  return (
    <VizRepeater
      getValues={() => displayed({ page, panel, frames })} getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      width={width} height={height} source={frames} itemSpacing={8} renderCounter={0} orientation={o.orientation ?? 'auto'}
      renderValue={({ value, alignmentFactors, width, height, orientation }: any) => (
        <Component value={value.display} field={value.field} width={width} height={height} orientation={orientation} theme={page.theme}
          displayMode={o.displayMode} alignmentFactors={alignmentFactors} showThresholdLabels={o.showThresholdLabels} showThresholdMarkers={o.showThresholdMarkers} valueDisplayMode={o.valueMode} text={o.text} />
      )}
    />
  );
}

// The application's own: names stay cached over the join, since colours are chosen by them, and a gap
// shorter than spanNulls is none (undefined instead of null).
function joined(frames: DataFrame[], fields: any) {
  const nullMode = ({ config }: any) => (config.custom?.spanNulls === true ? 0 : config.custom?.spanNulls === -1 ? 1 : 2);
  const one = outerJoinDataFrames({ frames, joinBy: fields.x, keep: fields.y, keepOriginIndices: true, keepDisplayNames: true, nullMode } as any);
  if (!one) return null;
  const times = one.fields[0].values;
  for (const field of one.fields.slice(1)) {
    const longest = field.config.custom?.spanNulls;
    if (typeof longest !== 'number' || longest === -1 || field.config.custom?.drawStyle === 'bars') continue;
    const values = [...field.values];
    let before = -1;
    values.forEach((value, i) => {
      if (value === null || value === undefined) return;
      if (before >= 0 && times[i] - times[before] < longest) values.fill(undefined, before + 1, i);
      before = i;
    });
    field.values = values;
  }
  return one;
}

function Graph({ page, panel, frames, width, height }: any) {
  if (!frames.some((f: DataFrame) => f.fields.some((x) => x.type === FieldType.number))) return <NoData page={page} panel={panel} />;
  cacheFieldDisplayNames(frames);
  const draw = (config: any) => {
    config.addHook('draw', (u: any) => {
      const { ctx } = u;
      ctx.save();
      ctx.beginPath();
      ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height + 20);
      ctx.clip();
      for (const region of page.regions) {
        const x0 = u.valToPos(region.from, 'x', true);
        const x1 = u.valToPos(region.to, 'x', true);
        ctx.strokeStyle = ctx.fillStyle = page.theme.visualization.getColorByName(region.colour);
        ctx.setLineDash([5, 5]);
        ctx.lineWidth = 2;
        for (const x of [x0, x1]) {
          ctx.beginPath();
          ctx.moveTo(x, u.bbox.top);
          ctx.lineTo(x, u.bbox.top + u.bbox.height);
          ctx.stroke();
        }
        ctx.globalAlpha = 0.1;
        ctx.fillRect(x0, u.bbox.top, x1 - x0, u.bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(x0, u.bbox.top + u.bbox.height, Math.max(4, x1 - x0), 8);
      }
      ctx.restore();
    });
    return null;
  };
  return (
    <TimeSeries frames={frames} preparePlotFrame={joined as any} structureRev={1} timeRange={page.range} timeZone={ZONE} width={width} height={height} legend={panel.options.legend} options={panel.options} {...({} as any)}>
      {draw as any}
    </TimeSeries>
  );
}

function NoData({ page, panel }: any) {
  return (
    <div data-nodata="" style={{ display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center', textAlign: 'center', color: page.theme.colors.text.secondary, fontSize: 18 }}>
      {panel.fieldConfig?.defaults?.noValue ?? 'No data'}
    </div>
  );
}

function Tabular({ page, panel, frames, width, height }: any) {
  const main = frames[panel.options.frameIndex ?? 0];
  if (!main || !main.fields.length || !main.length) return <NoData page={page} panel={panel} />;
  return (
    <Table data={main} width={width} height={height} noHeader={!panel.options.showHeader} showTypeIcons={panel.options.showTypeIcons} resizable
      initialSortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight} timeRange={page.range} fieldConfig={panel.fieldConfig} footerOptions={panel.options.footer} />
  );
}

function Words({ panel, page }: any) {
  return <div className="markdown-html" style={{ padding: 8 }} dangerouslySetInnerHTML={{ __html: renderMarkdown(interpolate(panel.options.content, page.variables)) }} />;
}

const DRAWN: Record<string, any> = { timeseries: Graph, stat: Stat, bargauge: Bars, gauge: Bars, table: Tabular };

class Guard extends React.Component<any, { error?: Error }> {
  state: { error?: Error } = {};
  static getDerivedStateFromError(error: Error) { return { error }; }
  componentDidCatch(error: Error) { console.error(error.message); }
  render() { return this.state.error ? <pre style={{ color: 'red' }}>{String(this.state.error.stack)}</pre> : this.props.children; }
}

const written = (field: any, value: any) => {
  if (!field.display) return String(value);
  const { prefix = '', text, suffix = '' } = field.display(value);
  return `${prefix}${text}${suffix}`;
};

function reported(page: Page, panel: any, asked: Asked[], frames: DataFrame[]) {
  const base = { id: panel.id, type: panel.type, title: panel.title, asked };
  const numbers = frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number).map((field) => ({ frame, field })));
  if (panel.type === 'timeseries') {
    cacheFieldDisplayNames(frames);
    const lines = numbers.map(({ frame, field }) => ({
      name: getFieldDisplayName(field, frame, frames), colour: getFieldSeriesColor(field, page.theme).color,
      style: field.config.custom?.lineStyle?.fill ?? 'solid', points: field.values.filter((v: any) => v !== null).length,
      now: field.values.at(-1) == null ? null : written(field, field.values.at(-1)),
      last: written(field, field.values.findLast((v: any) => v !== null)),
    }));
    return { ...base, lines };
  }
  if (panel.type === 'table') {
    const main = frames[panel.options.frameIndex ?? 0];
    const fields = (main?.fields ?? []).filter((field) => !field.config.custom?.hidden);
    const columns = fields.map((field) => ({
      name: getFieldDisplayName(field, main, frames), kind: field.config.custom?.cellOptions?.type ?? 'auto', texts: field.values.map((v: any) => written(field, v)),
    }));
    return { ...base, columns };
  }
  if (panel.type === 'text') return base;
  const mode = panel.options?.textMode;
  const values = numbers.length ? displayed({ page, panel, frames }).map(({ display: d }: any) => ({ name: d.title, text: `${d.prefix ?? ''}${d.text}${d.suffix ?? ''}`, colour: d.color })) : [];
  return { ...base, mode, values };
}

function Panel({ page, panel, width, height }: any) {
  const [ran, setRan] = useState<(Ran & { shown: DataFrame[] }) | null>(null);
  useEffect(() => {
    (async () => {
      const result = await run(panel.targets ?? [], page.variables, page.range, Math.round(width - 16), panel.interval);
      const moved = await lastValueFrom(transformDataFrame(panel.transformations ?? [], result.frames));
      const shown = fieldsOf(page, panel, moved);
      setRan({ ...result, shown });
      page.done(panel.id, reported(page, panel, result.asked, shown));
    })().catch((error) => {
      console.error(panel.title, error);
      page.done(panel.id, { id: panel.id, type: panel.type, title: panel.title, asked: [], failed: String(error.stack) });
    });
  }, []);
  const errors = (ran?.asked ?? []).flatMap(({ error }) => error ?? []);
  return (
    <PanelChrome title={interpolate(panel.title, page.variables)} description={panel.description} width={width} height={height} displayMode={panel.transparent ? 'transparent' : 'default'}
      statusMessage={errors.length ? errors.join('\n') : undefined}>
      {(w, h) => {
        if (!ran) return <div />;
        if (panel.type === 'text') return <Words panel={panel} page={page} />;
        const empty = ran.shown.every((f) => !f.length);
        const Drawn = DRAWN[panel.type];
        if (!Drawn) throw new Error(`no drawing of ${panel.type}`);
        // Tiles write their "no value" as large as a value.
        const Body = empty && Drawn !== Stat ? NoData : Drawn;
        return <Guard><div style={{ height: '100%' }} data-nodata={empty && Drawn === Stat ? '' : undefined}><Body page={page} panel={panel} frames={ran.shown} width={w} height={h} /></div></Guard>;
      }}
    </PanelChrome>
  );
}

/** Panels and headings with their places. A collapsed row's panels are below it once it is opened. */
function placed(dashboard: any, open: boolean) {
  const all: any[] = [];
  let moved = 0;
  for (const panel of dashboard.panels) {
    const { y } = panel.gridPos;
    all.push({ ...panel, gridPos: { ...panel.gridPos, y: y + moved } });
    if (!open || !panel.panels?.length) continue;
    const inner = panel.panels.map((one: any) => one.gridPos);
    const up = Math.min(...inner.map((place: any) => place.y));
    for (const one of panel.panels) all.push({ ...one, gridPos: { ...one.gridPos, y: one.gridPos.y - up + y + moved + 1 } });
    moved += Math.max(...inner.map((place: any) => place.y + place.h)) - up;
  }
  return all;
}

function Dashboard({ page }: { page: Page }) {
  const { dashboard, theme } = page;
  const panels = useMemo(() => placed(dashboard, page.asked.get('rows') === 'open'), []);
  const width = window.innerWidth - 32;
  const column = (width - 8 * 23) / 24;
  const place = ({ x, y, w, h }: any) => ({ left: x * (column + 8), top: y * 38, width: w * column + (w - 1) * 8, height: h * 30 + (h - 1) * 8 });
  const bottom = Math.max(...panels.map((p: any) => p.gridPos.y + p.gridPos.h));
  const chip = { border: `1px solid ${theme.components.input.borderColor}`, background: theme.components.input.background, padding: '0 8px', lineHeight: '30px', display: 'inline-block' } as const;
  const label = { ...chip, background: theme.colors.background.secondary };
  return (
    <div style={{ padding: 16, width: window.innerWidth, boxSizing: 'border-box', background: theme.colors.background.canvas }}>
      <div style={{ display: 'flex', justifyContent: 'space-between', marginBottom: 12 }}>
        <div style={{ fontSize: 14 }}>Home › Dashboards › … › <b>{dashboard.title}</b></div>
        <div style={chip}>{rangeUtil.describeTimeRange(page.range.raw as any, ZONE)}</div>
      </div>
      <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, marginBottom: 12, alignItems: 'center' }}>
        {page.shown.map(([name, text], i) => (
          <div key={i} style={{ fontSize: 12 }}>
            {name && <span style={{ ...label, fontWeight: 500 }}>{name}</span>}
            <span style={{ ...chip, fontSize: 14 }}>{text} ⌄</span>
          </div>
        ))}
        {(dashboard.annotations?.list ?? []).filter((a: any) => a.expr && !a.hide).map((a: any) => (
          <div key={a.name} style={{ fontSize: 12 }}><span style={label}>{a.name}</span><span style={chip}>{a.enable ? '◉' : '○'}</span></div>
        ))}
        <div style={{ flexGrow: 1 }} />
        {dashboard.links.flatMap((l: any) => (l.type === 'dashboards' ? page.titles : [l.title])).map((title: string) => (
          <span key={title} style={{ ...label, fontSize: 12 }}>{title}</span>
        ))}
      </div>
      <div style={{ position: 'relative', height: bottom * 38 }}>
        {panels.map((panel: any) => {
          const box = place(panel.gridPos);
          return (
            <div key={panel.id} data-panel={panel.id} style={{ position: 'absolute', ...box }}>
              {panel.type === 'row' ? (
                <div style={{ fontSize: 16, lineHeight: '30px', fontWeight: 500 }}>{panel.collapsed && page.asked.get('rows') !== 'open' ? '›' : '⌄'} {panel.title}</div>
              ) : (
                <Panel page={page} panel={panel} width={box.width} height={box.height} />
              )}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const root = createRoot(document.getElementById('root')!);
const context: any = { eventBus, eventsScope: 'global', sync: () => DashboardCursorSync.Off, canAddAnnotations: () => false };
let drawn = 0;

/** Draw the dashboard that ``query`` names (dash, theme, from, to, rows=open, var-NAME), and report. */
async function draw(base: string, query: string) {
  useBase(base);
  const asked = new URLSearchParams(query);
  const name = asked.get('dash') ?? 'vi/nation';
  const dashboard = await (await fetch(`/dashboards/${name}.json`)).json();
  const titles = await (await fetch(`/titles/${name.split('/')[0]}`)).json();
  const range = rangeOf(asked.get('from') ?? dashboard.time.from, asked.get('to') ?? dashboard.time.to);
  const { values, shown } = await variablesOf(dashboard, asked, range);
  const theme = createTheme({ colors: { mode: (asked.get('theme') ?? 'dark') as any } });
  const notes = (dashboard.annotations?.list ?? []).filter((a: any) => a.expr && a.enable);
  const found = await Promise.all(notes.map((a: any) => annotations(a.expr, values, range)));
  const regions = found.flatMap((some, i) => some.map((region) => ({ ...region, colour: notes[i].iconColor })));
  const expected = placed(dashboard, asked.get('rows') === 'open').filter((p) => p.type !== 'row').length;
  const panels: any[] = [];
  await new Promise<void>((resolve) => {
    const done = (_: number, report: any) => panels.push(report) === expected && resolve();
    const page: Page = { dashboard, asked, theme, range, variables: values, shown, titles, regions, done };
    root.render(
      <ThemeContext.Provider value={theme} key={++drawn}>
        <GlobalStyles />
        <PanelContextProvider value={context}><Dashboard page={page} /></PanelContextProvider>
        <PortalContainer />
      </ThemeContext.Provider>
    );
  });
  await settled(document.getElementById('root')!);
  for (const panel of panels) {
    const element = document.querySelector(`[data-panel="${panel.id}"]`) as HTMLElement;
    panel.cut = cut(element, panel.columns);
    panel.legend = legendOf(element);
    panel.said = element.querySelector('[data-nodata]')?.textContent ?? null;
  }
  panels.sort((a, b) => a.id - b.id);
  return { title: dashboard.title, panels, regions, annotations: notes.map((a: any) => interpolate(a.expr, values)), height: document.getElementById('root')!.scrollHeight };
}

Object.assign(window, { draw });
