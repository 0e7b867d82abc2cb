// Filters, order, folds, deep links and the dark theme. The document is complete without it:
// what it adds are the rows that stand in the file as data. Text only ever becomes text nodes.
"use strict";
(() => {
  const STEP = 100;
  const root = document.documentElement;
  const form = document.getElementById("filters");
  const model = document.getElementById("row-template").content.querySelector("tr");
  const { strings, rows: packed } = JSON.parse(document.getElementById("rows").textContent);

  // One entry for each finding, whether it is markup already or still data.
  const checks = [...document.querySelectorAll("details.check")].map((element) => ({
    element,
    sections: (element.dataset.sections || "").split(" "),
    bodies: [element.querySelector("tbody.own"), element.querySelector("tbody.system")],
    rows: [],
    limit: 0,
    more: null,
  }));
  const byId = new Map();

  function keep(check, row) {
    row.check = check;
    row.index = check.rows.length;
    check.rows.push(row);
    byId.set(row.id, row);
  }

  checks.forEach((check) => {
    check.bodies.forEach((body, system) => {
      if (!body) return;
      for (const tr of body.querySelectorAll("tr[id]")) {
        const cell = (name) => tr.querySelector(name).textContent;
        keep(check, {
          id: tr.id.slice("finding-".length), tr, system,
          status: tr.dataset.s, severity: tr.dataset.v, namespace: tr.dataset.n, target: tr.dataset.t,
          name: cell(".subject"), place: `${cell(".file")} ${cell(".path")}`,
          live: Number(cell(".c-n").replaceAll(",", "")), text: tr.textContent.toLowerCase(),
        });
      }
    });
    check.limit = check.rows.length;
  });
  for (const row of packed) {
    const at = (column) => strings[row[column]];
    keep(checks[row[0]], {
      id: row[14], tr: null, packed: row, system: row[12],
      status: at(1), severity: at(2), target: at(3), namespace: at(4), name: at(6),
      place: `${at(7)} ${at(8)}`, live: Number(at(11).replaceAll(",", "")),
      text: [1, 2, 3, 5, 6, 7, 8, 9, 10, 13].map(at).join(" ").toLowerCase(),
    });
  }

  // As in the markup: a path may break after its dots and slashes.
  function breakable(node, text) {
    text.split(/(?<=[./])(?=[^./])/).forEach((part, number) => {
      if (number) node.append(document.createElement("wbr"));
      node.append(part);
    });
  }

  function element(row) {
    if (row.tr) return row.tr;
    const tr = model.cloneNode(true);
    const at = (column) => strings[row.packed[column]];
    const put = (selector, text) => { tr.querySelector(selector).textContent = text; };
    tr.id = `finding-${row.id}`;
    const status = tr.querySelector(".st");
    status.classList.add(`st-${row.status}`);
    status.textContent = row.status;
    put(".sev", row.severity);
    put(".kind", at(5));
    put(".subject bdi", at(6));
    put(".on bdi", row.target);
    breakable(tr.querySelector(".file bdi"), at(7));
    breakable(tr.querySelector(".path bdi"), at(8));
    put(".observed bdi", at(9));
    if (at(13)) put(".waiver bdi", at(13));
    else tr.querySelector(".waiver").remove();
    put(".expected bdi", at(10));
    put(".c-n", at(11));
    for (const empty of tr.querySelectorAll("bdi:empty")) empty.remove();
    row.tr = tr;
    return tr;
  }

  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  // The worst first is the order in which the file has them, workload by workload.
  const ORDERS = {
    name: (a, b) => compare(a.name, b.name) || a.index - b.index,
    place: (a, b) => compare(a.place, b.place) || a.index - b.index,
    live: (a, b) => b.live - a.live || a.index - b.index,
  };

  function wanted() {
    const get = (name) => form.elements[name].value;
    const words = get("text").toLowerCase().split(/\s+/).filter(Boolean);
    const [status, severity, namespace, target] = ["status", "severity", "namespace", "target"].map(get);
    return (row) => (!status || row.status === status)
      && (!severity || row.severity === severity)
      && (!namespace || row.namespace === namespace)
      && (!target || row.target === target)
      && words.every((word) => row.text.includes(word));
  }

  function draw() {
    const matches = wanted();
    const section = form.elements.section.value;
    const order = ORDERS[form.elements.order.value];
    let rows = 0;
    let shown = 0;
    for (const check of checks) {
      const inSection = !section || check.sections.includes(section);
      const found = inSection ? check.rows.filter(matches) : [];
      if (order) found.sort(order);
      const drawn = found.slice(0, check.limit);
      check.bodies.forEach((body, system) => {
        if (!body) return;
        const mine = drawn.filter((row) => row.system === system).map(element);
        const apart = body.querySelector("tr.apart");
        if (apart) apart.hidden = mine.length === 0;
        body.replaceChildren(...(apart ? [apart] : []), ...mine);
      });
      check.element.hidden = found.length === 0;
      const rest = found.length - drawn.length;
      if (check.more) {
        check.more.hidden = rest === 0;
        check.more.textContent = `Show ${Math.min(rest, STEP)} more of ${rest.toLocaleString("en")}`;
      }
      rows += found.length;
      shown += found.length ? 1 : 0;
    }
    document.getElementById("matches").textContent =
      `${rows.toLocaleString("en")} of ${byId.size.toLocaleString("en")} findings of this file match, in ${shown} checks.`;
    root.dataset.matches = String(rows);
  }

  function addMoreButtons() {
    for (const check of checks) {
      if (check.rows.length <= check.limit && check.rows.every((row) => row.tr)) continue;
      const place = check.element.querySelector(".more");
      const button = document.createElement("button");
      button.type = "button";
      button.addEventListener("click", () => {
        check.limit += STEP;
        draw();
      });
      place.replaceChildren(button);
      check.more = button;
    }
  }

  function follow() {
    const id = decodeURIComponent(location.hash.slice(1));
    const folded = document.getElementById(id);
    if (folded && folded.matches("details.check")) {
      if (folded.hidden) {
        form.reset();
        draw();
        folded.scrollIntoView();
      }
      folded.open = true;
    }
    if (!id.startsWith("finding-")) return;
    const row = byId.get(id.slice("finding-".length));
    if (!row) return;
    if (!element(row).isConnected) {
      form.reset();
      row.check.limit = Math.max(row.check.limit, row.index + 1);
      draw();
    }
    row.check.element.open = true;
    for (const old of document.querySelectorAll("tr.found")) old.classList.remove("found");
    row.tr.classList.add("found");
    row.tr.tabIndex = -1;
    row.tr.scrollIntoView({ block: "center" });
    row.tr.focus({ preventScroll: true });
  }

  function startTheme() {
    const button = document.getElementById("theme");
    const prefers = window.matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefers.matches);
    const label = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      label();
    });
    prefers.addEventListener("change", label);
    label();
    button.hidden = false;
  }

  const namespaces = new Set([...byId.values()].map((row) => row.namespace).filter(Boolean));
  for (const name of [...namespaces].sort()) form.elements.namespace.add(new Option(name, name));

  addMoreButtons();
  draw();
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    for (const check of checks) check.limit = Math.max(check.limit, STEP);
    draw();
  });
  form.addEventListener("reset", () => setTimeout(draw));
  for (const button of form.querySelectorAll("[data-fold]")) {
    button.addEventListener("click", () => {
      for (const check of checks) check.element.open = button.dataset.fold === "open";
    });
  }
  startTheme();
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => { for (const check of checks) check.element.open = true; });
  follow();
  root.dataset.ready = "yes";
})();
