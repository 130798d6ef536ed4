"use strict";
// Takes the page anew every ten seconds, and leaves open what was opened. Without it the browser reloads the page by itself.
const local = () => document.querySelectorAll("time").forEach((t) => {
  t.textContent = new Date(t.dateTime).toLocaleTimeString();
});
const renew = async () => {
  if (document.hidden) return;
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (!answer || !answer.ok) {
    document.body.classList.add("stale");
    return;
  }
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelectorAll("details[open]").forEach((d) => {
    const same = next.getElementById(d.id);
    if (same) same.open = true;
  });
  document.title = next.title;
  document.body.replaceWith(next.body);
  local();
};
local();
setInterval(renew, 10000);
