/* Streamly's own script: starts engage.js with an identity from Streamly's server, and shows on the account page what
 * Engage tells the page. */
(() => {
  "use strict";
  const { key, identity } = document.currentScript.dataset;
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
  window.Engage.init({
    key,
    identity: async () => {
      const answer = await fetch(identity);
      return answer.ok ? answer.text() : "";
    },
  });
})();
