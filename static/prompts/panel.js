// The Actions panel and the prompt's form. Without this file everything works by plain links and forms; with it the lanes
// are ordered by dragging, dialogs open in place, and lanes change without a reload.
(() => {
  "use strict";

  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const token = () => document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";

  const load = async (url, body) => {
    const response = await fetch(url, body ? { method: "POST", body, credentials: "same-origin" } : { credentials: "same-origin" });
    return { response, page: new DOMParser().parseFromString(await response.text(), "text/html") };
  };

  // --- lanes ---------------------------------------------------------------------------------------------------------

  const say = (text) => {
    let region = document.getElementById("eg-live");
    if (!region) {
      region = Object.assign(document.createElement("p"), { id: "eg-live", className: "eg-visually-hidden" });
      region.setAttribute("role", "status");
      document.body.append(region);
    }
    region.textContent = text;
  };

  // Put the lanes and messages of `page` in place of those that are shown. False: it is another page, e.g. the sign-in.
  const showLanes = (page) => {
    const lanes = page.getElementById("eg-panel");
    const shown = document.getElementById("eg-panel");
    if (!lanes || !shown) return false;
    shown.replaceWith(lanes);
    const messages = page.getElementById("eg-messages");
    if (messages) document.getElementById("eg-messages")?.replaceChildren(...messages.childNodes);
    return true;
  };

  const send = async (url, body, row) => {
    try {
      const { response, page } = await load(url, body);
      if (!response.ok || !showLanes(page)) return location.reload();
    } catch {
      return alert("That did not reach the server. Nothing was changed.");
    }
    const place = row && document.getElementById(row);
    if (!place) return;
    const lane = place.closest("[data-eg-lane]").closest("section").querySelector("h2").textContent;
    say(`${place.querySelector("h3").firstChild.textContent.trim()} is number ${place.querySelector(".eg-number").textContent} of ${lane}.`);
    const verb = url.match(/\/(up|down)\/$/)?.[1];
    const button = verb && place.querySelector(`form[action$="/${verb}/"] button`);
    (button && !button.disabled ? button : place.querySelector("button:not([disabled]), summary"))?.focus();
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const question = form.dataset.egAsk;
    if (question && !window.confirm(question)) return event.preventDefault();
    if (!form.hasAttribute("data-eg-quiet") || !form.closest("#eg-panel")) return;
    event.preventDefault();
    send(form.action, new FormData(form, event.submitter), form.closest(".eg-row").id);
  });

  // --- dragging ------------------------------------------------------------------------------------------------------

  let dragged = null;

  const rowsOf = (lane) => all(":scope > [data-eg-place]", lane).filter((row) => row !== dragged);
  const unmark = () => all(".eg-drop-before, .eg-drop-end").forEach((marked) => marked.classList.remove("eg-drop-before", "eg-drop-end"));
  const indexAt = (lane, y) => {
    const rows = rowsOf(lane);
    const index = rows.findIndex((row) => y < row.getBoundingClientRect().top + row.offsetHeight / 2);
    return index < 0 ? rows.length : index;
  };

  document.addEventListener("dragstart", (event) => {
    dragged = event.target.closest?.("[data-eg-place]") ?? null;
    if (!dragged) return;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", dragged.id);
    dragged.classList.add("eg-dragged");
  });

  document.addEventListener("dragover", (event) => {
    const lane = dragged && event.target.closest?.(".eg-lane")?.querySelector("[data-eg-lane]");
    if (!lane) return;
    event.preventDefault();
    unmark();
    const next = rowsOf(lane)[indexAt(lane, event.clientY)];
    next ? next.classList.add("eg-drop-before") : lane.classList.add("eg-drop-end");
  });

  document.addEventListener("drop", (event) => {
    const lane = dragged && event.target.closest?.(".eg-lane")?.querySelector("[data-eg-lane]");
    if (!lane) return;
    event.preventDefault();
    const body = new FormData();
    body.append("csrfmiddlewaretoken", token());
    body.append("interaction", lane.dataset.egLane);
    body.append("index", indexAt(lane, event.clientY));
    send(dragged.dataset.egPlace, body, dragged.id);
  });

  document.addEventListener("dragend", () => {
    unmark();
    dragged?.classList.remove("eg-dragged");
    dragged = null;
  });

  // --- the dialog ----------------------------------------------------------------------------------------------------

  const dialog = () => document.getElementById("eg-dialog");
  let opener = null;
  let changed = false;

  const fill = (page) => {
    const content = page.getElementById("eg-dialog-content");
    if (!content) return false;
    content.classList.remove("eg-card", "eg-narrow");
    document.getElementById("eg-dialog-body").replaceChildren(content);
    dialog().setAttribute("aria-label", content.querySelector("h2").textContent.trim());
    prepare(content);
    return true;
  };

  const open = async (url) => {
    try {
      const { response, page } = await load(url);
      if (!response.ok || !fill(page)) return location.assign(url);
    } catch {
      return location.assign(url);
    }
    changed = false;
    if (!dialog().open) dialog().showModal();
    (dialog().querySelector("[data-eg-focus]") ?? dialog().querySelector("input:not([type=hidden]), select, textarea, a[data-eg-into]"))?.focus();
  };

  const close = () => {
    if (changed && !window.confirm("Close without saving what you changed?")) return;
    changed = false;
    dialog().close();
  };

  document.addEventListener("click", (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = event.target.closest("[data-eg-into]");
    if (link && dialog()) {
      event.preventDefault();
      if (!dialog().open) opener = link.closest("details")?.querySelector("summary") ?? link;
      link.closest("details")?.removeAttribute("open");
      return open(link.href);
    }
    if (dialog()?.open && (event.target.closest("[data-eg-leave]") || event.target === dialog())) {
      event.preventDefault();
      close();
    }
  });

  const prepareDialog = (box) => {
    box.addEventListener("input", (event) => { if (event.target.closest("[data-eg-form]")) changed = true; });
    box.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
    box.addEventListener("close", () => opener?.isConnected && opener.focus());
    box.addEventListener("submit", async (event) => {
      const form = event.target.closest("[data-eg-form]");
      if (!form) return;
      event.preventDefault();
      const button = event.submitter;
      if (button) button.disabled = true;
      try {
        const { response, page } = await load(form.action, new FormData(form, event.submitter));
        if (response.redirected && showLanes(page)) {
          changed = false;
          return box.close();
        }
        if (!fill(page)) return location.assign(response.url);
        box.querySelector("[data-eg-focus]")?.focus();
      } catch {
        alert("That did not reach the server. What you entered is still here; try again.");
        if (button) button.disabled = false;
      }
    });
  };

  // --- small things --------------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    all("details[data-eg-menu][open]").forEach((menu) => menu.contains(event.target) || menu.removeAttribute("open"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    all("details[data-eg-menu][open]").forEach((menu) => { menu.removeAttribute("open"); menu.querySelector("summary").focus(); });
  });

  // An input that comes from a trait or a form input has no fixed value.
  const follow = (select) => {
    const fixed = document.getElementById(select.dataset.egSource);
    if (fixed) fixed.hidden = select.value !== "fixed";
  };

  // A choice that belongs to another one is offered only with it.
  const offer = (select) => {
    const chosen = document.getElementById(select.dataset.egWithin)?.value;
    [...select.options].forEach((option) => {
      const belongs = option.dataset.egBelongs;
      option.hidden = option.disabled = Boolean(chosen && belongs) && !JSON.parse(belongs).includes(chosen);
    });
    if (select.selectedOptions[0]?.disabled) select.value = "";
  };

  const filter = (field) => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all("[data-eg-words]", document.querySelector(field.dataset.egFilter));
    rows.forEach((row) => { row.hidden = !words.every((word) => row.dataset.egWords.toLowerCase().includes(word)); });
    const none = field.closest("#eg-dialog-content").querySelector("[data-eg-none]");
    if (none) none.hidden = rows.some((row) => !row.hidden);
  };

  document.addEventListener("change", (event) => event.target.matches("[data-eg-source]") && follow(event.target));
  document.addEventListener("change", (event) => {
    if (event.target.id) all(`[data-eg-within="${CSS.escape(event.target.id)}"]`).forEach(offer);
  });
  document.addEventListener("input", (event) => event.target.matches("[data-eg-filter]") && filter(event.target));
  document.addEventListener("click", (event) => {
    const editor = event.target.closest("[data-eg-inputs]");
    if (!editor) return;
    if (event.target.closest("[data-eg-add]")) {
      const rows = editor.querySelector("[data-eg-rows]");
      rows.append(editor.querySelector("[data-eg-blank]").content.cloneNode(true));
      prepare(rows.lastElementChild);
      rows.lastElementChild.querySelector("input").focus();
    } else if (event.target.closest("[data-eg-remove]")) {
      event.target.closest(".eg-inputs-row").remove();
      editor.querySelector("[data-eg-add]").focus();
    }
  });

  // A choice needs choices; the other types have none.
  const choices = (select) => {
    const field = select.closest(".eg-inputs-row")?.querySelector(".eg-inputs-choices");
    if (field) field.hidden = select.value !== "choice";
  };
  document.addEventListener("change", (event) => event.target.matches(".eg-inputs-row select[name$='-type']") && choices(event.target));

  const poll = async (section) => {
    if (document.hidden) return setTimeout(poll, 2000, section);
    try {
      const { page } = await load(section.dataset.egPoll);
      const fresh = page.getElementById(section.id);
      if (!fresh) return;
      section.replaceWith(fresh);
      prepare(fresh);
    } catch {
      setTimeout(poll, 5000, section);
    }
  };

  const prepare = (root) => {
    all("[data-eg-source]", root).forEach(follow);
    all("[data-eg-within]", root).forEach(offer);
    all(".eg-inputs-row select[name$='-type']", root).forEach(choices);
    if (root.matches?.(".eg-inputs-row")) choices(root.querySelector("select[name$='-type']"));
    all("[data-eg-add], [data-eg-remove]", root).forEach((button) => { button.hidden = false; });
    const polled = root.matches?.("[data-eg-poll]") ? [root] : all("[data-eg-poll]", root);
    polled.forEach((section) => setTimeout(poll, 1500, section));
  };

  const begin = () => {
    prepare(document);
    if (dialog()) prepareDialog(dialog());
    document.querySelector("[data-eg-focus]")?.focus();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
