// Keeps the page current: asks for it anew and puts in the parts that have changed. Without it the
// page is the same, and is brought up to date by loading it again.
(() => {
  "use strict";
  const every = 3000, patience = 10000;
  const stale = document.getElementById("stale");
  let mark = null, heard = new Date(), failed = 0;

  const replace = (fresh) => {
    const own = [...document.querySelectorAll("[data-live]")];
    const theirs = new Map([...fresh.querySelectorAll("[data-live]")].map((e) => [e.dataset.live, e]));
    // Another set of parts, as when the first agency appears: only loading it again shows it.
    if (own.length !== theirs.size || own.some((e) => !theirs.has(e.dataset.live))) {
      if (!document.activeElement || document.activeElement === document.body) location.reload();
      return;
    }
    for (const part of own) {
      const now = theirs.get(part.dataset.live);
      if (part.innerHTML === now.innerHTML) continue;
      const open = [...part.querySelectorAll("details[open][id]")].map((e) => e.id);
      const focus = part.contains(document.activeElement)
        ? document.activeElement.getAttribute("href") : null;
      part.replaceChildren(...now.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      if (focus) [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === focus)?.focus();
    }
  };

  const say = (wrong) => {
    if (!wrong) { stale.hidden = true; return; }
    const text = stale.dataset.text.replace("{at}", heard.toLocaleTimeString(document.documentElement.lang));
    if (stale.hidden || stale.textContent !== text) stale.textContent = text;
    stale.hidden = false;
  };

  const ask = async () => {
    const given = new AbortController();
    const late = setTimeout(() => given.abort(), patience);
    try {
      const answer = await fetch(location.href, {
        cache: "no-store", signal: given.signal,
        headers: mark ? { Accept: "text/html", "If-None-Match": mark } : { Accept: "text/html" },
      });
      if (answer.status === 200) {
        const text = await answer.text();
        mark = answer.headers.get("ETag");
        replace(new DOMParser().parseFromString(text, "text/html"));
      } else if (answer.status !== 304) throw new Error(answer.status);
      heard = new Date();
      failed = 0;
      say(false);
    } catch {
      failed += 1;
      if (failed > 1) say(true);
    } finally {
      clearTimeout(late);
      setTimeout(turn, every);
    }
  };

  // Nobody looks: nothing is asked until somebody does.
  const turn = () => {
    if (!document.hidden) { ask(); return; }
    document.addEventListener("visibilitychange", turn, { once: true });
  };
  setTimeout(turn, every);
})();
