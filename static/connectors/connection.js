/* A connector's page: tabs, secrets, Test connection. Without it the page is one long form that works. */
"use strict";

(() => {
    const page = document.querySelector(".eg-connectors");

    /* --- tabs ------------------------------------------------------------------------------------------------------ */
    const bar = page.querySelector(".eg-tabs");
    const tabs = [...bar.querySelectorAll("a")];
    const panel = (tab) => document.getElementById(tab.hash.slice(1));

    const show = (chosen) => {
        for (const tab of tabs) {
            const isChosen = tab === chosen;
            tab.setAttribute("aria-selected", String(isChosen));
            tab.tabIndex = isChosen ? 0 : -1;
            panel(tab).hidden = !isChosen;
        }
    };
    const ofAddress = () => tabs.find((tab) => tab.hash === location.hash) || tabs[0];

    bar.setAttribute("role", "tablist");
    page.classList.add("eg-tabs-on");
    for (const tab of tabs) {
        tab.setAttribute("role", "tab");
        tab.id = `tab-${tab.hash.slice(1)}`;
        tab.setAttribute("aria-controls", tab.hash.slice(1));
        panel(tab).setAttribute("role", "tabpanel");
        panel(tab).setAttribute("aria-labelledby", tab.id);
        tab.addEventListener("click", (event) => {
            event.preventDefault();
            history.replaceState(null, "", tab.hash);
            show(tab);
        });
    }
    bar.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
        next.focus();
        next.click();
    });
    window.addEventListener("hashchange", () => {
        if (tabs.some((tab) => tab.hash === location.hash)) show(ofAddress());
    });
    show(ofAddress());

    page.querySelectorAll("form[data-busy]").forEach((form) => {
        form.addEventListener("submit", () => {
            const button = form.querySelector("button");
            button.setAttribute("aria-disabled", "true");
            button.textContent = form.dataset.busy;
        });
    });

    /* --- settings -------------------------------------------------------------------------------------------------- */
    const form = document.getElementById("eg-settings");
    if (!form) return;
    page.querySelector("[data-focus]")?.focus();

    const secrets = [...form.querySelectorAll("[data-secret]")];
    const sayLength = (field) => {
        const place = form.querySelector(`[data-length-of="${CSS.escape(field.id)}"]`);
        if (!place) return;
        const typed = field.value.trim().length;
        const usual = Number(field.dataset.usualLength || 0);
        const isUnusual = typed > 0 && usual > 0 && typed !== usual;
        place.classList.toggle("eg-unusual", isUnusual);
        place.textContent = typed === 0 ? "" : `${typed} characters${isUnusual ? `; ${usual} are usual. Is it complete?` : ""}`;
    };
    for (const field of secrets) {
        field.addEventListener("input", () => sayLength(field));
        field.closest("details")?.querySelector("summary").addEventListener("click", () => requestAnimationFrame(() => field.focus()));
    }

    /* A stored secret never goes to another account: ask for it as soon as the account changes. */
    const chooses = (value) => value.match(/^https?:\/\/[^/]*/i)?.[0].toLowerCase() ?? value;
    const choosers = [...form.querySelectorAll("[data-identity]")];
    const look = () => {
        const isAnother = choosers.some((field) => chooses(field.value) !== chooses(field.dataset.identity));
        form.querySelectorAll("[data-keep]").forEach((words) => (words.hidden = isAnother));
        if (!isAnother) return;
        for (const secret of secrets) {
            const details = secret.closest("details");
            if (details) details.open = true;
        }
    };
    choosers.forEach((field) => field.addEventListener("change", look));
    look();

    const active = form.querySelector("[name='connection-active']");
    const explain = () => {
        for (const part of form.querySelectorAll("[data-when]")) {
            part.hidden = (part.dataset.when === "on") !== active.checked;
        }
    };
    active.addEventListener("change", explain);
    explain();

    /* --- Test connection ------------------------------------------------------------------------------------------- */
    const button = form.querySelector("[data-test]");
    const answer = form.querySelector("[data-test-answer]");
    if (!button) return; // nobody is called
    const say = (text) => {
        const words = document.createElement("p");
        words.className = "eg-notice";
        words.textContent = text;
        answer.replaceChildren(words);
    };
    button.hidden = false;
    /* An answer is about what was typed then. */
    form.addEventListener("input", (event) => {
        if (!event.target.closest(".eg-switch")) answer.replaceChildren();
    });
    button.addEventListener("click", async () => {
        if (button.getAttribute("aria-disabled") === "true") return;
        button.setAttribute("aria-disabled", "true");
        say("Testing…");
        const slow = setTimeout(() => say("Still testing; the vendor takes its time…"), 10000);
        try {
            const response = await fetch(form.dataset.testUrl, { method: "POST", body: new FormData(form), redirect: "manual" });
            const text = response.type === "opaqueredirect" ? "" : await response.text();
            if (text.includes("data-test-result")) answer.innerHTML = text;
            else say("The test could not be run: you may have been signed out, or your role has changed. Reload the page.");
        } catch {
            say("The test could not be run: there is no connection to this server. Nothing that you typed is lost.");
        } finally {
            clearTimeout(slow);
            button.removeAttribute("aria-disabled");
        }
    });
})();
