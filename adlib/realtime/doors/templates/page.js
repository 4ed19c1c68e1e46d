// Fetches the page again each second and changes what has changed; sends forms without leaving it;
// keys act on the marked incident. Without this script the page is whole, and forms work.
"use strict";
(() => {
  if (document.querySelector("input[type=password]")) return; // the form that asks for the token
  const $ = (what, of = document) => of.querySelector(what);
  const link = $("#link"), said = $("#said");
  let tag = "", last = new Date(), failing = null, current = null, hide = 0, busy = false;

  const clock = t => t.toISOString().slice(11, 19) + " UTC";
  const say = text => {
    said.textContent = text;
    said.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => { said.hidden = true; }, 6000);
  };

  // -- the tree, changed in place: what somebody types into, or has opened, stays ----------------
  const key = node => node.nodeType === 1 ? node.dataset.key || node.id || null : null;
  const focused = node => node.contains(document.activeElement);
  const held = node => node.matches("details.silence[open]") || (node.matches("form") &&
    focused(node) && document.activeElement.matches("input, select"));
  const kept = node => node.nodeType === 1 && node.querySelector("details.silence[open]") && focused(node);
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || key(old) !== key(fresh)) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== 1) { old.nodeValue = fresh.nodeValue; return; }
    if (held(old)) return;
    for (const {name} of [...old.attributes])
      if (!fresh.hasAttribute(name) && name !== "aria-current") old.removeAttribute(name);
    for (const {name, value} of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const known = new Map([...old.children].filter(key).map(node => [key(node), node]));
    let place = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const same = key(node) && known.get(key(node));
      if (same) {
        // a node that is moved loses the focus, and letters would become commands: others give way
        if (focused(same))
          while (place !== same) { const next = place.nextSibling; old.append(place); place = next; }
        if (same === place) place = place.nextSibling; else old.insertBefore(same, place);
        morph(same, node);
      } else if (place && !key(node) && !key(place) && place.nodeName === node.nodeName) {
        const next = place.nextSibling;
        morph(place, node);
        place = next;
      } else {
        if (node.nodeType === 1 && node.matches(".card")) {
          node.classList.add("fresh");
          say(`new: ${$("h1, h2", node)?.textContent.trim()}`);
        }
        old.insertBefore(node, place);
      }
    }
    while (place) { const next = place.nextSibling; if (!kept(place)) place.remove(); place = next; }
  };

  // -- marked incident ---------------------------------------------------------------------------
  const cards = () => [...document.querySelectorAll(".card")];
  const mark = card => {
    current = card ? card.dataset.key : null;
    for (const each of cards())
      if (each === card) each.setAttribute("aria-current", "true"); else each.removeAttribute("aria-current");
  };
  const marked = () => cards().find(card => card.dataset.key === current) || null;

  // -- looking again -----------------------------------------------------------------------------
  const look = async () => {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {
        headers: {"If-None-Match": tag, "Accept": "text/html"}, cache: "no-store",
        signal: AbortSignal.timeout(5000)});
      if (answer.status === 401) { location.reload(); return; }
      if (answer.status !== 304) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!answer.ok) throw new Error($(".notice", $("main", fresh) || fresh)?.textContent || answer.status);
        tag = answer.headers.get("ETag") || "";
        morph($("main"), $("main", fresh));
        document.title = fresh.title;
        mark(marked());
      }
      last = new Date();
      failing = null;
      link.hidden = true;
    } catch (error) {
      failing = failing || new Date();
      const why = error instanceof TypeError || error.name === "TimeoutError" ? "No connection to adlib" : error.message;
      link.textContent = `${why}. What you see is of ${clock(last)}; trying again since ${clock(failing)}.`;
      link.hidden = false;
    } finally {
      busy = false;
    }
  };
  const later = async () => { await look(); setTimeout(later, document.hidden ? 5000 : 1000); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

  const who = $("#who");
  who.value = localStorage.getItem("adlib-who") || "";
  who.addEventListener("change", () => localStorage.setItem("adlib-who", who.value));
  $("#you").hidden = false;

  // -- forms -------------------------------------------------------------------------------------
  document.addEventListener("submit", async event => {
    const form = event.target, button = event.submitter;
    if (form.method !== "post" || !form.action.endsWith("/act")) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form, button));
    fields.set("who", who.value);
    if (button) button.disabled = true;
    try {
      const answer = await fetch("/act", {
        method: "POST", body: fields, headers: {"X-Page": "1"}, signal: AbortSignal.timeout(15000)});
      say(await answer.text());
      if (answer.ok) {
        const silence = form.closest("details.silence");
        if (silence) { form.reset(); silence.open = false; silence.closest(".card")?.focus(); }
        if (form.contains(document.activeElement)) document.activeElement.blur();
      }
      await look();
    } catch {
      say("not done: no connection to adlib");
    } finally {
      if (button) button.disabled = false;
    }
  });

  // -- keys --------------------------------------------------------------------------------------
  const press = {a: "acknowledge", f: "false", t: "true", n: "known", u: "withdrawn", c: "close"};
  const move = step => {
    const all = cards(), at = all.indexOf(marked());
    const card = all[Math.min(Math.max(at < 0 ? 0 : at + step, 0), all.length - 1)];
    if (card) { mark(card); card.focus(); card.scrollIntoView({block: "nearest"}); }
  };
  document.addEventListener("keydown", event => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      event.target.closest("details[open]")?.removeAttribute("open");
      if (typing) event.target.blur();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const of = event.key, card = marked();
    if (of === "j" || of === "k") move(of === "j" ? 1 : -1);
    else if (of === "/" && $("#find")) $("#find").focus();
    else if (of === "s" && !$(".card") && $("details.silence")) {
      $("details.silence").open = true;
      $("details.silence input[name=comment]").focus();
    } else if (!(of in press) && of !== "s" && !(of === "Enter" && event.target === card)) return;
    else if (!card) move(0); // none is marked, or it is gone: nothing is done to another one
    else if (of === "Enter") $(".head > a", card)?.click();
    else if (of === "s") {
      const silence = $("details.silence", card);
      if (silence) { silence.open = true; $("input[name=comment]", silence).focus(); }
    } else {
      const button = $(`.acts button[value=${press[of]}]`, card);
      if (button) button.click(); else say(`nothing to do: ${press[of]}`);
    }
    event.preventDefault();
  });
  document.addEventListener("focusin", event => {
    const card = event.target.closest(".card");
    if (card) mark(card);
  });
  $("#find")?.addEventListener("input", event => {
    const to = new URL(location.href);
    to.searchParams.set("find", event.target.value);
    history.replaceState(null, "", to);
    look();
  });

  mark(cards()[0] || null);
  later();
})();
