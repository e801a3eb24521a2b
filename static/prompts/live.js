// Live and an execution's page keep themselves up to date: they ask a small address every few seconds, and not at all while
// nobody looks at the tab. New rows wait behind a button, so that nothing moves under the pointer.
"use strict";

const EVERY = 4000;
const EVERY_AT_REST = 20000;

async function fetchPage(url) {
  const answer = await fetch(url, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) {
    throw new Error(String(answer.status));
  }
  return answer;
}

// Runs `look` again and again while the tab is seen; `look` returns the milliseconds until the next time.
function keepLooking(look) {
  let timer = null;
  const again = async () => {
    clearTimeout(timer);
    timer = null;
    if (document.hidden) {
      return;
    }
    let wait = EVERY_AT_REST;
    try {
      wait = await look();
    } catch {
      // Offline, signed out or restarted: the next look tells.
    }
    timer = setTimeout(again, wait);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer === null) {
      again();
    }
  });
  timer = setTimeout(again, EVERY);
}

function replace(current, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(current.id);
  if (!fresh) {
    throw new Error("Not this page any more");
  }
  current.replaceWith(fresh);
  localTimes(fresh);
  return fresh;
}

function watchList(list) {
  let paused = false;

  const show = async () => {
    const before = new Set([...list.querySelectorAll("tr[data-key]")].map((row) => row.dataset.key));
    const answer = await fetchPage(list.dataset.first);
    list = replace(list, await answer.text());
    for (const row of list.querySelectorAll("tr[data-key]")) {
      row.classList.toggle("eg-row-new", !before.has(row.dataset.key));
    }
    showPause();
    // The button that was pressed is hidden now; the keyboard goes on at the top of the rows.
    list.tabIndex = -1;
    list.focus({ preventScroll: true });
  };

  const showPause = () => {
    const button = list.querySelector("[data-pause]");
    button.setAttribute("aria-pressed", String(paused));
    button.querySelector("[data-pause-label]").textContent = paused ? "Go on" : "Pause";
    button.querySelector(".material-symbols-outlined").textContent = paused ? "play_arrow" : "pause";
    list.querySelector("[data-watching]").textContent = paused ? "Paused." : "Updates by itself.";
  };

  const look = async () => {
    if (paused) {
      return EVERY;
    }
    const open = [...list.querySelectorAll("tr[data-open]")].map((row) => row.dataset.key);
    const query = new URLSearchParams(list.dataset.filters);
    query.set("newest", list.dataset.newest);
    query.set("open", open.join(","));
    const news = await (await fetchPage(`${list.dataset.news}?${query}`)).json();
    if (paused) {
      return EVERY;
    }
    for (const row of list.querySelectorAll("tr[data-open]")) {
      const fresh = news.rows[row.dataset.key];
      if (fresh && fresh.html !== row.dataset.seen) {
        row.dataset.seen = fresh.html;
        row.querySelector(".eg-cell-state").remove();
        row.querySelector(".eg-cell-text").remove();
        row.insertAdjacentHTML("beforeend", fresh.html);
        row.toggleAttribute("data-open", fresh.moves);
      }
    }
    const button = list.querySelector("[data-new]");
    if (news.new && !list.querySelector("tr[data-key]") ) {
      await show();
    } else if (button) {
      button.hidden = !news.new;
      button.querySelector("[data-count]").textContent = `${news.more ? "99+" : news.new} new`;
    }
    return EVERY;
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("#live [data-pause]")) {
      paused = !paused;
      showPause();
    } else if (event.target.closest("#live [data-new]")) {
      show().catch(() => window.location.assign(list.dataset.first));
    }
  });
  keepLooking(look);
}

function watchExecution(page) {
  const busy = () => document.querySelector("dialog[open]") !== null;

  const look = async () => {
    if (!busy()) {
      const html = await (await fetchPage(window.location.href)).text();
      const fresh = new DOMParser().parseFromString(html, "text/html").getElementById(page.id);
      if (fresh && fresh.dataset.stamp !== page.dataset.stamp && !busy()) {
        const open = new Set([...page.querySelectorAll("details[open]")].map((one) => one.id));
        const focused = document.activeElement?.id;
        page = replace(page, html);
        for (const one of page.querySelectorAll("details")) {
          one.open ||= open.has(one.id);
        }
        document.getElementById(focused)?.focus();
      }
    }
    return "moves" in page.dataset ? EVERY : EVERY_AT_REST;
  };
  keepLooking(look);
}

const list = document.getElementById("live");
if (list && !("older" in list.dataset)) {
  watchList(list);
}
const execution = document.getElementById("execution");
if (execution) {
  watchExecution(execution);
}
