/* A source's page: Test connection, columns, the schedule's details. Without it the page is a form that works. */
"use strict";

(() => {
    document.querySelector("[data-focus]")?.focus();
    const form = document.getElementById("eg-source");
    if (!form) return;

    /* --- columns ------------------------------------------------------------------------------------------------------- */
    const list = form.querySelector("[data-columns]");
    const blank = list.querySelector("[data-blank]");
    let added = 0;
    const addColumn = (name = "") => {
        added += 1;
        const row = blank.cloneNode(true);
        row.removeAttribute("data-blank");
        for (const field of row.querySelectorAll("input")) {
            field.id = `${field.id}-${added}`;
            field.value = field.name === "column" ? name : "";
            field.previousElementSibling.htmlFor = field.id;
        }
        list.append(row);
        row.querySelector(name ? "[name='trait']" : "[name='column']").focus();
    };
    const adder = form.querySelector("[data-add-column]");
    adder.hidden = false;
    adder.addEventListener("click", () => addColumn());

    /* --- what only some choices need ----------------------------------------------------------------------------------- */
    const showDetails = () => {
        for (const part of form.querySelectorAll("[data-when]")) {
            part.hidden = !part.dataset.is.split(" ").includes(form.elements[part.dataset.when].value);
        }
    };
    form.addEventListener("change", showDetails);
    form.addEventListener("change", (event) => {
        const id = form.elements.id_column;
        if (event.target.name === "content" && event.target.value === "endpoints" && !id.value) id.value = "User.UserId";
    });
    showDetails();

    /* --- the secret ---------------------------------------------------------------------------------------------------- */
    const secret = form.querySelector("[data-secret]");
    secret.addEventListener("input", () => {
        const place = form.querySelector(`[data-length-of="${CSS.escape(secret.id)}"]`);
        const typed = secret.value.trim().length;
        const usual = Number(secret.dataset.usualLength || 0);
        place.textContent = typed === 0 ? "" : `${typed} characters${usual && typed !== usual ? `; ${usual} are usual. Is it complete?` : ""}`;
    });

    /* --- Test connection ----------------------------------------------------------------------------------------------- */
    const button = form.querySelector("[data-test]");
    const answer = form.querySelector("[data-test-answer]");
    const say = (text) => {
        const words = document.createElement("p");
        words.className = "eg-notice";
        words.textContent = text;
        answer.replaceChildren(words);
    };
    button.hidden = false;
    answer.addEventListener("click", (event) => {
        const chosen = event.target.closest("[data-take-id]");
        if (chosen) {
            form.elements.id_column.value = chosen.dataset.takeId;
            button.click();
            return;
        }
        const taker = event.target.closest("[data-take-column]");
        if (!taker) return;
        addColumn(taker.dataset.takeColumn);
        taker.remove();
    });
    button.addEventListener("click", async () => {
        if (button.getAttribute("aria-disabled") === "true") return;
        button.setAttribute("aria-disabled", "true");
        say("Testing…");
        const slow = setTimeout(() => say("Still testing; the store takes its time…"), 10000);
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
