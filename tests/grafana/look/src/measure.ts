// What of a drawn panel cannot be read: texts that are cut, columns off the panel, legends to scroll to.

/** Return when nothing under ``root`` has changed for a moment; complain if it goes on for long. */
export function settled(root: HTMLElement, quiet = 250, longest = 20_000): Promise<void> {
  return new Promise((resolve) => {
    let timer = setTimeout(done, quiet);
    const began = performance.now();
    const observer = new MutationObserver(([{ target }]) => {
      clearTimeout(timer);
      if (performance.now() - began < longest) timer = setTimeout(done, quiet);
      else {
        const panel = (target instanceof Element ? target : target.parentElement)?.closest('[data-panel]');
        console.error(`panel ${panel?.getAttribute('data-panel')} does not come to rest`);
        done();
      }
    });
    function done() {
      observer.disconnect();
      void document.fonts.ready.then(() => resolve());
    }
    observer.observe(root, { childList: true, subtree: true, attributes: true, characterData: true });
  });
}

const CLIPS = new Set(['hidden', 'auto', 'scroll', 'clip']);

/** Texts of a panel that do not fit into what clips them, left or right. */
export function cut(panel: HTMLElement, columns?: Array<{ name: string; kind: string; texts: string[] }>): string[] {
  const found = new Set<string>();
  const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.textContent?.trim()) continue;
    range.selectNodeContents(node);
    const text = range.getBoundingClientRect();
    if (!text.width) continue;
    for (let box = node.parentElement; box && panel.contains(box); box = box.parentElement) {
      if (!CLIPS.has(getComputedStyle(box).overflowX)) continue;
      const { left, right } = box.getBoundingClientRect();
      const hidden = getComputedStyle(box).textOverflow === 'ellipsis' && box.scrollWidth > box.clientWidth + 1;
      if (text.right > right + 1 || text.left < left - 1 || hidden) {
        found.add(node.textContent.trim());
        break;
      }
    }
  }
  for (const text of columns ? cutInColumns(panel, columns) : []) found.add(text);
  return [...found];
}

/** Only the rows in sight are in the document: the others are measured with the column's font. */
function cutInColumns(panel: HTMLElement, columns: Array<{ name: string; kind: string; texts: string[] }>): string[] {
  const row = panel.querySelector('[role="table"] [role="rowgroup"] [role="row"], [role="table"] [role="row"]:has([role="cell"])');
  const cells = row ? [...row.querySelectorAll<HTMLElement>('[role="cell"]')] : [];
  const pen = document.createElement('canvas').getContext('2d')!;
  return columns.flatMap(({ kind, texts }, index) => {
    const cell = cells[index];
    if (!cell || kind === 'gauge') return [];
    const { font, paddingLeft, paddingRight } = getComputedStyle(cell);
    pen.font = font;
    const room = cell.getBoundingClientRect().width - parseFloat(paddingLeft) - parseFloat(paddingRight) + 1;
    return texts.filter((text) => pen.measureText(text).width > room);
  });
}

/** How many of a graph's legend entries are in sight, of how many. */
export function legendOf(panel: HTMLElement): { seen: number; of: number } | null {
  const entries = [...panel.querySelectorAll<HTMLElement>('table tbody tr, [data-testid^="data-testid VizLegend series"]')];
  if (!entries.length) return null;
  const seen = entries.filter((entry) => {
    const { bottom, top } = entry.getBoundingClientRect();
    for (let box = entry.parentElement; box && panel.contains(box); box = box.parentElement) {
      const clip = box.getBoundingClientRect();
      if (CLIPS.has(getComputedStyle(box).overflowY) && (bottom > clip.bottom + 1 || top < clip.top - 1)) return false;
    }
    return true;
  });
  return { seen: seen.length, of: entries.length };
}
