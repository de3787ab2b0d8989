// Draws dashboards: node look.mjs DASHBOARDS. A job is a line of JSON on standard input
// ({prometheus, query, width, tall, picture?}), its report a line on standard output, in the jobs' order.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';

const TABS = 2;
const dashboards = process.argv[2];
const here = path.dirname(fileURLToPath(import.meta.url));
const packages = path.join(here, 'node_modules');
const fonts = '/usr/share/fonts/opentype/inter';
const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';

const bundled = await build({
  absWorkingDir: here, entryPoints: ['src/main.tsx'], bundle: true, outfile: 'bundle.js', format: 'iife', target: 'es2022', jsx: 'automatic',
  write: false, logLevel: 'warning', define: { 'process.env.NODE_ENV': '"production"', global: 'window', 'process.env': '{}' },
  alias: Object.fromEntries(['ui', 'data', 'schema'].map((n) => [`@grafana/${n}`, `${packages}/@grafana/${n}/dist/cjs/index.cjs`])),
  loader: { '.svg': 'text', '.png': 'dataurl', '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
});
const bundle = Object.fromEntries(bundled.outputFiles.map((file) => [`/${path.basename(file.path)}`, file.text]));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.css': 'text/css', '.svg': 'image/svg+xml', '.otf': 'font/otf' };

function answer(request, response) {
  const { pathname, search } = new URL(request.url, 'http://x');
  const send = (type, body) => response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8` }).end(body);
  const sendFile = (file) => (fs.existsSync(file) ? send(types[path.extname(file)] ?? 'application/octet-stream', fs.readFileSync(file)) : response.writeHead(404).end());
  if (pathname.startsWith('/prometheus/')) {
    const [, , port, ...rest] = pathname.split('/');
    const options = { port, host: '127.0.0.1', path: `/${rest.join('/')}${search}`, method: request.method, headers: { 'content-type': request.headers['content-type'] ?? '' } };
    const up = http.request(options, (from) => from.pipe(response.writeHead(from.statusCode, { 'Content-Type': 'application/json' })));
    up.on('error', (error) => response.writeHead(502, { 'Content-Type': 'application/json' }).end(JSON.stringify({ status: 'error', error: String(error) })));
    request.pipe(up);
  } else if (pathname in bundle) send(types[path.extname(pathname)], bundle[pathname]);
  else if (pathname.startsWith('/dashboards/')) sendFile(path.join(dashboards, pathname.slice('/dashboards/'.length)));
  else if (pathname.startsWith('/titles/')) {
    // Grafana lists the dashboards of a tag by title.
    const folder = path.join(dashboards, pathname.slice('/titles/'.length));
    const titles = fs.readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => JSON.parse(fs.readFileSync(path.join(folder, name))).title);
    send('application/json', JSON.stringify(titles.sort((a, b) => a.localeCompare(b))));
  } else if (pathname.includes('/fonts/')) sendFile(path.join(fonts, path.basename(pathname).replace('.woff2', '.otf')));
  else if (pathname.includes('/img/')) sendFile(path.join(packages, '@grafana/ui/dist/public', pathname.slice(pathname.indexOf('/img/'))));
  else if (pathname === '/') sendFile(path.join(here, 'index.html'));
  else response.writeHead(404).end();
}

const server = http.createServer(answer);
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const base = `http://127.0.0.1:${server.address().port}`;
// --no-sandbox: as root, as in CI, Chromium has none; nothing but our own pages is opened.
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--lang=vi', '--disable-dev-shm-usage', '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows'],
  protocolTimeout: 300_000,
});

async function open() {
  // A window of its own: of a window's tabs one only is drawn.
  const tab = await (await browser.createBrowserContext()).newPage();
  const said = [];
  tab.on('console', (message) => ['error', 'warn'].includes(message.type()) && said.push(message.text().slice(0, 300)));
  tab.on('pageerror', (error) => said.push(`not caught: ${error.message}`));
  await tab.setViewport({ width: 1600, height: 900 });
  await tab.goto(base);
  await tab.waitForFunction(() => window.draw, { timeout: 120_000 });
  return { tab, said };
}

async function look({ tab, said }, { prometheus, query, width, tall, picture }) {
  said.length = 0;
  // High enough that no panel has to be scrolled to.
  await tab.setViewport({ width, height: 900 });
  const report = await tab.evaluate((...asked) => window.draw(...asked), `/prometheus/${prometheus}`, query);
  if (picture) {
    await tab.setViewport({ width, height: Math.min(tall, Math.max(300, report.height)) });
    await tab.screenshot({ path: picture, ...(picture.endsWith('.webp') && { quality: 80 }) });
  }
  return { ...report, said: [...new Set(said)] };
}

const waiting = [];
const idle = await Promise.all(Array.from({ length: TABS }, open));
console.log(JSON.stringify({ ready: true, browser: await browser.version() }));
const free = () => new Promise((resolve) => (idle.length ? resolve(idle.pop()) : waiting.push(resolve)));
const release = (tab) => (waiting.length ? waiting.shift()(tab) : idle.push(tab));
let printed = Promise.resolve();
for await (const line of readline.createInterface({ input: process.stdin })) {
  const result = free().then((tab) => look(tab, JSON.parse(line)).catch((error) => ({ failed: String(error.stack) })).finally(() => release(tab)));
  printed = printed.then(async () => console.log(JSON.stringify(await result)));
}
await printed;
await browser.close();
server.close();
