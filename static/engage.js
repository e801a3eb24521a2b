/* Engage: asks for prompts, shows them, and reports what the person answered.
 *
 *   <script src="https://engage.example.com/static/engage.js" data-key="pk_…" data-identity="eyJ…" defer></script>
 * or, with an identity that is renewed:
 *   Engage.init({ key: "pk_…", identity: async () => (await fetch("/my/engage-identity")).text() })
 *
 * Tells the page on `document`: engage:shown, engage:answered, engage:settled, engage:instruction (docs/integration.md).
 * What the app is to do itself (`instructions`): redirect, script, cart and discount are built in, a page adds its own kinds.
 */
(() => {
  "use strict";

  const script = document.currentScript;
  const WORDS = {
    close: "Close",
    working: "One moment, please…",
    kept: "We could not reach the server. Your answer is kept and will be sent by itself.",
    reference: "Reference",
    elsewhere: "This page cannot do it. Please go on in our app.",
  };
  const WAIT = 8; // seconds that the server may take to say "done" at once
  const KEPT_FOR = 72 * 3600e3; // an older answer would not be carried out any more
  const RESEND_AFTER = 30e3; // another tab, or the next page, takes over an answer that was not confirmed
  const PROGRESS = ["accept", "secondary_accept"]; // the person waits for what becomes of these
  const busy = new Set(); // ids that this page is sending
  let config;
  let token = "";

  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`engage:${name}`, { detail, cancelable: true }));
  const sleep = (ms) =>
    new Promise((done) => {
      const timer = setTimeout(done, ms);
      addEventListener("online", () => (clearTimeout(timer), done()), { once: true });
    });
  const newId = () =>
    crypto.randomUUID?.() ?? // only where the page is secure
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
      (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16),
    );

  // --- answers that are not confirmed yet ----------------------------------------------------------------------------

  const store = {
    memory: {}, // where the browser forbids localStorage
    name: () => `engage:${config.key}`,
    all() {
      try {
        return JSON.parse(localStorage.getItem(this.name())) ?? {};
      } catch {
        return this.memory;
      }
    },
    change(edit) {
      const events = this.all();
      edit(events);
      for (const [id, kept] of Object.entries(events)) if (Date.now() - kept.at > KEPT_FOR) delete events[id];
      this.memory = events;
      try {
        localStorage.setItem(this.name(), JSON.stringify(events));
      } catch {}
    },
    keep(event, next) {
      this.change((events) => {
        events[event.event_id] = { event, next, at: events[event.event_id]?.at ?? Date.now() };
      });
    },
    drop(id) {
      this.change((events) => delete events[id]);
    },
  };

  // --- talking to the server -------------------------------------------------------------------------------------------

  const claims = (jwt) => {
    try {
      return JSON.parse(atob(jwt.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    } catch {
      return {};
    }
  };

  async function identify(renew) {
    const ends = claims(token).exp * 1000;
    if (typeof config.identity === "function" && (renew || !(ends - 60e3 > Date.now()))) token = await config.identity();
    else if (typeof config.identity === "string") token = config.identity;
    return token;
  }

  async function call(method, path, body) {
    const headers = { Authorization: `Bearer ${config.key}`, "X-Engage-Identity": await identify() };
    if (body) headers["Content-Type"] = "application/json";
    const options = { method, headers, keepalive: method === "POST", credentials: "omit", signal: AbortSignal.timeout(25e3) };
    const response = await fetch(config.api + path, { ...options, body: body && JSON.stringify(body) });
    return { status: response.status, after: Number(response.headers.get("Retry-After")), body: await response.json() };
  }

  /** Send an event until the server has it; the id makes every repeat the same event. Returns its status, or null. */
  async function deliver(event, onKept = () => {}) {
    busy.add(event.event_id);
    try {
      for (let tries = 0; ; tries++) {
        store.keep(event, Date.now() + RESEND_AFTER);
        const answer = await call("POST", "/events", event).catch(() => ({ status: 0 }));
        if (answer.status === 200 || answer.status === 202) {
          store.drop(event.event_id);
          return answer.body;
        }
        if (answer.status === 401) {
          if (typeof config.identity !== "function" || tries > 3) return null; // kept for a page with a valid identity
          await identify(true).catch(() => {});
        } else if (answer.status >= 400 && answer.status < 500 && answer.status !== 408 && answer.status !== 429) {
          store.drop(event.event_id);
          console.warn("Engage refused an event:", answer.body?.error?.message);
          return null;
        }
        if (answer.status !== 401 || tries) {
          onKept();
          const pause = answer.after * 1000 || Math.min(60e3, 1000 * 2 ** tries) * (1 + Math.random() / 4);
          store.keep(event, Date.now() + pause + RESEND_AFTER);
          await sleep(pause);
        }
      }
    } finally {
      busy.delete(event.event_id);
    }
  }

  /** Send what an earlier page, or a closed tab, could not. */
  function resend() {
    for (const { event, next } of Object.values(store.all())) {
      if (event.user_id !== config.user || busy.has(event.event_id)) continue;
      setTimeout(async () => {
        const kept = store.all()[event.event_id];
        if (!kept || busy.has(event.event_id)) return;
        if (kept.next > Date.now()) return resend(); // another tab is at it
        const status = await deliver(event);
        if (status) settle(event, status, { fresh: Date.now() - kept.at < 60e3 });
      }, Math.max(0, next - Date.now()));
    }
  }

  function leave() {
    for (const { event } of Object.values(store.all())) {
      if (!busy.has(event.event_id)) continue;
      const body = JSON.stringify({ ...event, wait: 0, key: config.key, identity: token });
      navigator.sendBeacon(`${config.api}/events`, new Blob([body], { type: "text/plain" }));
      store.keep(event, 0); // nobody says whether a beacon arrived: the next page asks
    }
  }

  // --- what becomes of an answer ---------------------------------------------------------------------------------------

  const stands = (answer) => ([200, 202].includes(answer?.status) ? answer.body : undefined);

  /** Follow an event to its end; `onChange(status)` hears of every step. */
  async function settle(event, status, { onChange = () => {}, fresh = true } = {}) {
    let unknown = false;
    let pause = 2e3;
    for (;;) {
      onChange(unknown && !status.settled ? { ...status, text: config.words.elsewhere } : status);
      const execution = fresh && status.executions.find(({ id, instruction }) => instruction && follows.first(id));
      if (execution) {
        const came = await follow(execution, event);
        unknown ||= came === "unknown";
        status = came?.executions ? came : status;
        pause = 2e3;
        continue; // the report's answer says how it stands, and there may be another instruction
      }
      if (status.settled) break;
      await sleep(pause);
      pause = Math.min(30e3, pause * 1.5);
      status = stands(await call("GET", `/events/${event.event_id}`).catch(() => ({}))) ?? status;
    }
    const { outcome, reference, text } = status;
    tell("settled", { prompt: event.prompt, interaction: event.interaction, event_id: event.event_id, outcome, reference, text });
  }

  /** Which executions' instructions were followed here: an item that is put into a cart twice is bought twice. */
  const follows = {
    memory: [], // where the browser forbids localStorage
    first(id) {
      const name = `engage-followed:${config.key}`;
      let known = this.memory;
      try {
        known = JSON.parse(localStorage.getItem(name)) ?? known;
      } catch {}
      if (known.includes(id) || this.memory.includes(id)) return false;
      this.memory = [...known, id].slice(-200);
      try {
        localStorage.setItem(name, JSON.stringify(this.memory));
      } catch {}
      return true;
    },
  };

  /** Carry out an instruction. Returns the event as the report's answer has it, "unknown", or nothing. */
  async function follow({ id, instruction }, { event_id, prompt, interaction }) {
    let taken = false;
    const report = (result, detail = {}) => {
      taken = true;
      return call("POST", `/executions/${id}/report`, { result, detail });
    };
    const own = instructions[instruction.kind];
    if (!own) {
      const heard = !tell("instruction", { instruction, execution: id, report });
      return heard || taken ? undefined : "unknown";
    }
    let end;
    try {
      end = await own(instruction, { execution: id, event_id, prompt, interaction });
    } catch (error) {
      end = { result: "failed", detail: { reason: String(error?.message ?? error).slice(0, 500) } };
    }
    const { result, detail, go } = typeof end === "string" ? { result: end } : (end ?? {});
    const answer = result && (await report(result, detail).catch(() => {}));
    if (go) location.assign(go);
    return stands(answer);
  }

  // --- what the app itself does: kind -> a function that returns {result, detail, go}; `go` is opened after the report ----

  /** Return an address that may be opened: a web address, and no script. */
  const webAddress = (url) => {
    const { protocol, href } = new URL(url, location.href);
    if (protocol !== "https:" && protocol !== "http:") throw new Error("not a web address");
    return href;
  };

  /** A store's page: its paths, with the language that the visitor has chosen in front. */
  const storePath = (path) => (window.Shopify?.routes?.root ?? "/") + path.replace(/^\//, "");

  async function inStore(path, body) {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(storePath(path), { ...options, signal: AbortSignal.timeout(15e3) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.description || answer.message || `The store answered ${response.status}.`);
    return answer;
  }

  /** Do it in the cart that the visitor has, on the store's own pages; elsewhere the store's link does it. */
  async function inCart({ hosts, then, url }, change) {
    if (hosts.includes(location.host)) return { result: "done", detail: await change(), go: then && webAddress(storePath(then)) };
    if (!url) throw new Error("only on the store's own pages");
    return { result: "done", detail: { opened: true }, go: webAddress(url) };
  }

  /** Kind -> what carries it out. A page puts its own kinds here (`Engage.instructions`). */
  const instructions = {
    __proto__: null,
    redirect: ({ url }) => ({ result: "done", go: webAddress(url) }),
    script: (instruction, context) => runScript(instruction, context),
    cart: (instruction) =>
      inCart(instruction, async () => {
        const { items } = await inStore(instruction.ajax.path, instruction.ajax.body);
        return { items: items.length };
      }),
    discount: (instruction) =>
      inCart(instruction, async () => {
        // Shopify takes the whole list in place of the one before.
        const wanted = instruction.ajax.body.discount;
        const is = ({ code }) => code.toLowerCase() === wanted.toLowerCase();
        const before = ((await inStore("/cart.js")).discount_codes ?? []).filter((one) => !is(one)).map(({ code }) => code);
        const { discount_codes: now } = await inStore(instruction.ajax.path, { discount: [...before, wanted].join(",") });
        const found = now.find(is);
        if (!found) throw new Error("the store did not take the code");
        return { code: found.code, applicable: found.applicable };
      }),
  };

  // --- website actions: scripts of the App's administrators, files that are addressed by their hash -----------------------

  const SCRIPT_LIMIT = 30e3; // ms
  const modules = {}; // address -> the promise of its module
  let policy;

  /** Return an address as a page that enforces Trusted Types takes it (it allows the policy `engage`). */
  function trusted(url) {
    policy ??= window.trustedTypes?.createPolicy("engage", { createScriptURL: (address) => address });
    return policy?.createScriptURL(url) ?? url;
  }

  /** Load a module once for a page. import() checks no integrity: the element has it checked, and import() finds that module. */
  function load(url, integrity) {
    if (!/^sha256-.{44}$/.test(integrity)) throw new Error("The script has no integrity.");
    modules[url] ??= new Promise((loaded, failed) => {
      const element = document.createElement("script");
      const why = "The script was not loaded: not reachable, not the published one, or not allowed here.";
      Object.assign(element, { type: "module", crossOrigin: "anonymous", integrity, nonce: script?.nonce ?? "" });
      element.onload = () => import(url).then(loaded, failed);
      element.onerror = () => failed(new Error(why));
      element.src = trusted(url);
      document.head.append(element);
    }).catch((error) => {
      delete modules[url];
      throw error;
    });
    return modules[url];
  }

  /** Run a script with its arguments; one that does not end in time counts as failed, and is told by `context.signal`. */
  async function runScript({ url, integrity, args }, context) {
    const over = new AbortController();
    let timer;
    const late = new Promise((_, failed) => {
      timer = setTimeout(() => {
        over.abort(new Error(`It took longer than ${SCRIPT_LIMIT / 1000} seconds.`));
        failed(over.signal.reason);
      }, SCRIPT_LIMIT);
    });
    const run = async () => {
      const { default: action } = await load(webAddress(url), integrity);
      over.signal.throwIfAborted();
      if (typeof action !== "function") throw new Error("The script's default export is no function.");
      return action(args, { ...context, signal: over.signal });
    };
    try {
      const said = await Promise.race([run(), late]);
      return { result: "done", detail: typeof said === "string" ? { message: said.slice(0, 200) } : {} };
    } finally {
      clearTimeout(timer);
    }
  }

  // --- showing ---------------------------------------------------------------------------------------------------------

  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial; --accent: var(--engage-accent, #5b3df5); --on-accent: var(--engage-on-accent, #fff);
      --back: var(--engage-background, #fff); --text: var(--engage-text, #1b1b24); --soft: var(--engage-soft, #5d5d6e);
      --line: var(--engage-line, #8a8a9a); font: 16px/1.5 var(--engage-font, system-ui, sans-serif); }
    @media (prefers-color-scheme: dark) { :host { --accent: var(--engage-accent-dark, #a899ff);
      --on-accent: var(--engage-on-accent-dark, #14101f); --back: var(--engage-background-dark, #1f1e2b);
      --text: var(--engage-text-dark, #f2f1f8); --soft: var(--engage-soft-dark, #b5b3c6); --line: var(--engage-line-dark, #6f6d82); } }
    :host(.banner) { display: block; position: sticky; top: 0; z-index: 2147483000; }
    * { box-sizing: border-box; font: inherit; }
    .box { position: fixed; border: 0; padding: 24px; background: var(--back); color: var(--text); overflow: auto;
      max-height: calc(100vh - 32px); width: min(440px, calc(100vw - 32px)); border-radius: 16px;
      box-shadow: 0 0 0 1px rgb(128 128 150 / .2), 0 16px 48px rgb(0 0 0 / .3); animation: come .2s ease-out; }
    .box:focus { outline: 0; }
    dialog.box { margin: auto; inset: 0; height: fit-content; }
    dialog::backdrop { background: rgb(10 8 20 / .55); }
    .notification { right: 16px; bottom: 16px; z-index: 2147483000; width: min(380px, calc(100vw - 32px)); }
    .notification .buttons button { flex: 1 1 auto; }
    .banner { width: 100%; max-height: none; border-radius: 0; padding: 12px 64px 12px 16px; display: flex;
      flex-wrap: wrap; gap: 8px 24px; align-items: center; justify-content: center; box-shadow: 0 1px 12px rgb(0 0 0 / .25);
      animation: none; position: relative; }
    .banner .words { flex: 1 1 280px; max-width: 640px; } .banner .buttons, .banner form { margin: 0; }
    h2 { font-size: 20px; line-height: 1.3; font-weight: 700; margin: 0 40px 8px 0; text-wrap: balance; }
    .banner h2 { font-size: 16px; margin: 0; }
    p { margin: 0; white-space: pre-line; overflow-wrap: anywhere; color: var(--soft); }
    .status { color: var(--text); font-weight: 600; margin-right: 40px; } .status:empty { display: none; }
    .status.working::before { content: ""; display: inline-block; width: 16px; height: 16px; margin: 0 10px -2px 0;
      border: 2px solid var(--line); border-top-color: var(--accent); border-radius: 50%; animation: turn .8s linear infinite; }
    .small { font-size: 14px; margin-top: 4px; }
    form { margin-top: 20px; } label { display: block; font-weight: 600; margin-top: 12px; }
    input, select { display: block; width: 100%; min-height: 44px; margin-top: 4px; padding: 8px 12px; border-radius: 8px;
      border: 1px solid var(--line); background: transparent; color: inherit; }
    select option { background: var(--back); }
    [aria-invalid=true] { border-color: #d92d3a; } .wrong { color: light-dark(#b3202c, #ff9aa2); font-size: 14px; }
    .buttons { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 20px; }
    button { min-height: 44px; min-width: 44px; padding: 8px 18px; border-radius: 10px; border: 1px solid var(--line);
      background: transparent; color: inherit; font-weight: 600; cursor: pointer; }
    .accept { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
    .decline { border-color: transparent; color: var(--soft); }
    button:hover { filter: brightness(1.1); text-decoration: underline; }
    :is(button, input, select):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    .close { position: absolute; top: 10px; right: 10px; padding: 0; border-color: transparent; font-size: 22px; line-height: 1; }
    [hidden] { display: none !important; }
    @keyframes come { from { opacity: 0; transform: translateY(12px); } }
    @keyframes turn { to { transform: rotate(1turn); } }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; } }
    @media (max-width: 420px) { .box:not(.banner) .buttons button { flex: 1 1 100%; } }
  `);

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  function field(input, number) {
    const id = `input-${number}`;
    const control = make(input.type === "choice" ? "select" : "input", { id, name: input.name, required: input.required });
    if (input.type === "choice") control.append(new Option("", ""), ...input.choices.map((choice) => new Option(choice, choice)));
    else Object.assign(control, { type: input.type, maxLength: 1000, autocomplete: input.type === "email" ? "email" : "off" });
    if (input.type === "number") control.step = "any";
    const wrong = make("p", { id: `${id}-wrong`, className: "wrong" });
    control.setAttribute("aria-describedby", wrong.id);
    return [make("label", { htmlFor: id, textContent: input.label + (input.required ? " *" : "") }), control, wrong];
  }

  /** Show one prompt. Resolves when it has gone. */
  function show(prompt) {
    return new Promise((gone) => {
      const popup = prompt.type === "popup";
      const before = document.activeElement;
      const title = make("h2", { id: "title", textContent: prompt.title });
      const message = make("p", { id: "message", textContent: prompt.message, hidden: !prompt.message });
      const status = make("p", { className: "status" });
      const reference = make("p", { className: "small" });
      const live = make("div", {}, status, reference);
      live.setAttribute("role", "status");
      const form = make("form", { noValidate: true, hidden: !prompt.inputs.length }, ...prompt.inputs.flatMap(field));
      const buttons = make("div", { className: "buttons" });
      const close = make("button", { className: "close", type: "button", textContent: "×" });
      close.setAttribute("aria-label", config.words.close);
      const words = make("div", { className: "words" }, title, message, live);
      const box = make(popup ? "dialog" : "section", { className: `box ${prompt.type}`, tabIndex: -1 }, words, form, buttons, close);
      if (!popup) box.setAttribute("role", "dialog");
      box.setAttribute("aria-labelledby", "title");
      box.setAttribute("aria-describedby", "message");
      const host = make("div", { className: `engage ${prompt.type}` });
      const root = host.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      root.append(box);

      let answered = false;
      const vanish = () => {
        if (!host.isConnected) return;
        const had = popup || root.activeElement;
        if (popup) box.close();
        host.remove();
        if (had && before?.isConnected) before.focus({ preventScroll: true });
        gone();
      };
      const valid = () => {
        const controls = [...form.elements];
        for (const control of controls) {
          root.getElementById(`${control.id}-wrong`).textContent = control.validationMessage;
          control.setAttribute("aria-invalid", String(!control.validity.valid));
        }
        controls.find((control) => !control.validity.valid)?.focus();
        return form.checkValidity();
      };
      const say = (text, { working = false, code = "" } = {}) => {
        status.textContent = text;
        status.classList.toggle("working", working);
        reference.textContent = code && `${config.words.reference}: ${code}`;
      };
      const answer = async (interaction) => {
        const waits = PROGRESS.includes(interaction);
        if (answered) return waits || vanish();
        if (waits && !valid()) return;
        answered = true;
        clearTimeout(timer);
        const inputs = waits ? Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== "")) : {};
        const event = report(prompt, interaction, inputs);
        if (!waits) vanish();
        title.hidden = message.hidden = form.hidden = true;
        box.setAttribute("aria-labelledby", "");
        box.setAttribute("aria-label", prompt.title);
        buttons.replaceChildren();
        say(config.words.working, { working: true });
        if (waits) box.focus();
        tell("answered", { prompt: prompt.key, interaction, event_id: event.event_id });
        const done = await deliver(event, () => say(config.words.kept));
        const ended = () => {
          if (buttons.children.length || !host.isConnected) return;
          buttons.append(make("button", { type: "button", textContent: config.words.close, onclick: vanish }));
          close.hidden = true;
          if (popup || root.activeElement) buttons.firstChild.focus();
        };
        if (!done) {
          say(prompt.texts.not_possible);
          return ended();
        }
        await settle(event, done, {
          onChange({ outcome, text, reference: code }) {
            say(text || prompt.texts.done, { code: outcome === "done" || outcome === "nothing" ? "" : code });
            ended();
          },
        });
      };

      for (const { interaction, label } of prompt.buttons)
        buttons.append(make("button", { type: "button", className: interaction, textContent: label, onclick: () => answer(interaction) }));
      close.onclick = () => answer("dismiss");
      form.onsubmit = (submitted) => (submitted.preventDefault(), answer("accept"));
      box.addEventListener("cancel", (escaped) => (escaped.preventDefault(), answer("dismiss")));
      box.addEventListener("close", () => answer("dismiss")); // a second Escape closes without asking
      if (!popup) box.onkeydown = (pressed) => pressed.key === "Escape" && answer("dismiss");
      const timer = prompt.timeout_seconds ? setTimeout(() => answer("timeout"), prompt.timeout_seconds * 1000) : 0;
      form.oninput = () => clearTimeout(timer); // nobody is cut off while typing

      if (prompt.type === "banner") document.body.prepend(host);
      else document.body.append(host);
      if (popup) {
        box.showModal();
        box.focus(); // not the first button: a key pressed by chance must accept nothing
      }
      deliver(report(prompt, "impression", {}));
      tell("shown", { prompt: prompt.key, version: prompt.version, type: prompt.type });
    });
  }

  const cookie = (pattern) => document.cookie.match(pattern)?.[1];

  /** What goes with an event: the path, under which ids Google Analytics knows this browser, and what the page adds. */
  function context() {
    let own = {};
    try {
      own = (typeof config.context === "function" ? config.context() : config.context) ?? {};
    } catch (error) {
      console.warn("Engage: the page's context could not be made.", error);
    }
    const found = {
      path: location.pathname,
      ga_client_id: cookie(/(?:^|; )_ga=GA\d\.\d\.(\d+\.\d+)/),
      ga_session_id: cookie(/(?:^|; )_ga_\w+=GS\d\.\d\.s?(\d+)/),
      ...own,
    };
    const told = Object.entries(found).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
    return Object.fromEntries(told.slice(0, 50).map(([name, value]) => [name, typeof value === "string" ? value.slice(0, 2000) : value]));
  }

  /** Make an event; it is kept before anything is sent. */
  function report(prompt, interaction, inputs) {
    const event = { event_id: newId(), prompt: prompt.key, version: prompt.version, interaction, user_id: config.user, inputs };
    Object.assign(event, { context: context(), wait: PROGRESS.includes(interaction) ? WAIT : 0 });
    store.keep(event, Date.now() + RESEND_AFTER);
    return event;
  }

  // --- the page's side -------------------------------------------------------------------------------------------------

  /** Ask for the prompts of this path, and show them one after the other. A page that changes its path itself calls it again. */
  async function ask(path = config.path ?? location.pathname) {
    const query = new URLSearchParams({ user_id: config.user, path });
    const answer = await call("GET", `/prompts?${query}`).catch(() => ({}));
    if (answer.status !== 200) return console.warn("Engage has no prompts:", answer.body?.error?.message ?? "no connection");
    for (const prompt of answer.body.prompts) {
      const waiting = Object.values(store.all()).some(({ event }) => event.prompt === prompt.key && event.interaction !== "impression");
      const alone = { ifAvailable: true }; // one tab shows it
      if (waiting) continue;
      if (!navigator.locks) await show(prompt);
      else await navigator.locks.request(`engage:${prompt.key}`, alone, (lock) => lock && show(prompt));
    }
  }

  async function init(options) {
    const api = script ? new URL("/api/v1", script.src).href : "/api/v1";
    config = { api, ...options, words: { ...WORDS, ...options.words } };
    await identify().catch(() => {});
    config.user ??= claims(token).sub;
    if (!token || !config.user) return console.warn("Engage needs the person's signed identity.");
    addEventListener("pagehide", leave);
    addEventListener("online", resend);
    resend();
    await ask();
  }

  window.Engage = { init, ask: (path) => ask(path), instructions };
  const { key, user, identity, api, path } = script?.dataset ?? {};
  if (key) init(Object.fromEntries(Object.entries({ key, user, identity, api, path }).filter(([, value]) => value)));
})();
