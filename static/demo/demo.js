/* Streamly's own script: starts engage.js with an identity from Streamly's server, shows on the account page what Engage tells
 * the page, and buys at the sandbox's stores, as an app would on the viewer's device. */
(() => {
  "use strict";
  const { key, identity, device, csrf } = document.currentScript.dataset;
  const log = document.getElementById("log");
  const sentences = {
    "engage:shown": ({ prompt, type }) => `The ${type} “${prompt}” was shown.`,
    "engage:answered": ({ prompt, interaction }) => `“${prompt}” was answered: ${interaction.replace("_", " ")}.`,
    "engage:settled": ({ prompt, outcome, reference }) => `“${prompt}” came to its end: ${outcome.replace("_", " ")} (${reference}).`,
    "engage:instruction": ({ instruction }) => `The app is asked to do this: ${instruction.kind}.`,
  };
  for (const [name, sentence] of Object.entries(sentences)) {
    document.addEventListener(name, ({ detail }) => {
      if (!log) return;
      log.querySelector(".nothing")?.remove();
      const line = document.createElement("li");
      line.textContent = sentence(detail);
      log.append(line);
    });
  }
  if (!key) return;
  window.Engage.instructions.purchase = async (instruction) => {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf };
    const answer = await fetch(device, { method: "POST", headers, body: JSON.stringify(instruction) });
    if (!answer.ok) throw new Error(`This viewer has no device for the store ${instruction.store}.`);
    return answer.json();
  };
  window.Engage.init({
    key,
    identity: async () => {
      const answer = await fetch(identity);
      return answer.ok ? answer.text() : "";
    },
  });
})();
