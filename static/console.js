// Small interactions of the console's own pages, declared by attributes:
//   data-eg-open="id"    opens the <dialog> with this id; data-eg-close closes the one around it
//   data-eg-copy="id"    copies the value or text of that element
//   <time datetime>      is shown in the viewer's zone; what the server wrote (the App's zone) stays as its title;
//                        data-eg-seconds shows the seconds too
"use strict";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-eg-open]");
  if (opener) {
    document.getElementById(opener.dataset.egOpen).showModal();
  }
  const closer = event.target.closest("[data-eg-close]");
  if (closer) {
    closer.closest("dialog").close();
  }
  const copier = event.target.closest("[data-eg-copy]");
  if (copier) {
    copy(copier);
  }
});

async function copy(button) {
  const source = document.getElementById(button.dataset.egCopy);
  const label = button.querySelector("[data-eg-label]") || button;
  const before = label.textContent;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
    label.textContent = "Copied";
  } catch {
    // Not on HTTPS, or not allowed: select it, so that the keyboard can.
    source.focus();
    if (source.select) {
      source.select();
    }
    label.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    label.textContent = before;
  }, 3000);
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-eg-local])")) {
    const moment = new Date(time.dateTime);
    if (time.dateTime.includes("T") && !Number.isNaN(moment.getTime())) {
      time.dataset.egLocal = "";
      time.title = time.title || time.textContent.trim();
      time.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "egSeconds" in time.dataset ? "medium" : "short" });
    }
  }
}

document.addEventListener("DOMContentLoaded", () => localTimes(document));
document.addEventListener("htmx:afterSwap", (event) => localTimes(event.target.parentElement ?? document));
