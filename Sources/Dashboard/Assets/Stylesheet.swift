enum Stylesheet {
    private static let dark = """
        --ink: #e6ebe2; --paper: #121814; --card: #19211c; --raised: #202a24; --line: #303c34; --quiet: #a3b0a6;
        --leaf: #8fd0a3; --leaf-soft: #1f3828; --leaf-strong: #a9dfb8; --amber: #e8bf6a; --amber-soft: #3a2f16;
        --brick: #f2a08b; --brick-soft: #43231b; --on-leaf: #0f1a13; --shade: rgb(0 0 0 / .35); --rest: #3b473f;
        """

    static let text = """
        :root { color-scheme: light dark;
          --ink: #1d2922; --paper: #f6f4ec; --card: #fffdf8; --raised: #efece0; --line: #dcd8c8; --quiet: #58645c;
          --leaf: #28593e; --leaf-soft: #e0ebdb; --leaf-strong: #1c4530; --amber: #7d5200; --amber-soft: #f7e9c8;
          --brick: #99341d; --brick-soft: #f8dfd6; --on-leaf: #fbfaf4; --shade: rgb(60 50 20 / .08); --rest: #cfcbbb;
          --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", "Source Serif 4", Georgia, "DejaVu Serif", serif;
          --sans: "Inter", "Inter Variable", system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
          --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
        @media (prefers-color-scheme: dark) { :root:not([data-theme=light]) { \(dark) } }
        :root[data-theme=light] { color-scheme: light; }
        :root[data-theme=dark] { color-scheme: dark; \(dark) }

        *, ::before, ::after { box-sizing: border-box; }
        html { font: 400 15px/1.55 var(--sans); color: var(--ink); background: var(--paper); -webkit-text-size-adjust: 100%; }
        body { margin: 0; } [hidden] { display: none !important; }
        h1, h2, h3 { font-family: var(--serif); font-weight: 600; line-height: 1.2; letter-spacing: -.005em; text-wrap: balance; }
        h1 { font-size: 2.1rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.35rem; margin: 0 0 .75rem; }
        h3 { font-size: 1rem; margin: 0 0 .5rem; }
        p { margin: 0 0 .75rem; max-width: 46rem; } ul, ol { margin: 0; }
        a { color: var(--leaf); text-decoration-thickness: 1px; text-underline-offset: .18em; text-decoration-color: color-mix(in srgb, currentColor 40%, transparent); }
        a:hover { text-decoration-color: currentColor; }
        code, pre, kbd, .log, .messages { font-family: var(--mono); font-size: .86em; } code { overflow-wrap: anywhere; }
        pre { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: 0 0 1rem;
          overflow: auto; line-height: 1.5; }
        .quiet, .hint { color: var(--quiet); } .hint { font-size: .87rem; } .unseen { position: absolute; width: 1px; height: 1px;
          overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
        :focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; border-radius: .25rem; } main:focus { outline: none; }
        .skip { position: absolute; left: 1rem; top: -4rem; background: var(--leaf); color: var(--on-leaf); padding: .5rem 1rem;
          border-radius: .5rem; z-index: 9; } .skip:focus { top: .6rem; }

        .shell { display: grid; grid-template-columns: 14rem minmax(0, 1fr); min-height: 100vh; }
        .rail { position: sticky; top: 0; height: 100vh; display: flex; flex-direction: column; gap: 1.6rem; padding: 1.5rem 1.25rem;
          border-right: 1px solid var(--line); background: color-mix(in srgb, var(--card) 60%, var(--paper)); overflow-y: auto; }
        .brand { display: inline-flex; align-items: center; gap: .55rem; font: 600 1.3rem/1 var(--serif); color: var(--ink);
          text-decoration: none; margin: 0; }
        .mark { width: 1.6rem; height: 1.6rem; stroke: var(--leaf); stroke-width: 3.2; stroke-linecap: round; fill: none; }
        .rail nav ul { list-style: none; padding: 0; display: grid; gap: .2rem; }
        .rail nav a { display: block; padding: .45rem .8rem; margin-left: -.8rem; border-radius: .55rem; color: var(--ink); text-decoration: none; }
        .rail nav a:hover { background: var(--raised); } .rail nav a[aria-current] { background: var(--leaf-soft); color: var(--leaf-strong); font-weight: 600; }
        .account { margin-top: auto; font-size: .87rem; } .account p { margin-bottom: .6rem; overflow-wrap: anywhere; }
        main { padding: 2rem clamp(1rem, 3.5vw, 3rem) 5rem; max-width: 90rem; min-width: 0; }
        .heading { display: flex; flex-wrap: wrap; gap: .75rem 2rem; justify-content: space-between; align-items: end; margin-bottom: 1.5rem; }
        .trail { font-size: .87rem; color: var(--quiet); margin-bottom: .2rem; } .section-head { display: flex; align-items: baseline;
          justify-content: space-between; gap: 1rem; flex-wrap: wrap; } .section-head p { margin: 0; }
        section { margin: 0 0 2.4rem; }

        button, .button, input, select, textarea { font: inherit; color: inherit; border-radius: .5rem; }
        button, .button { display: inline-block; padding: .4rem .9rem; border: 1px solid var(--line); background: var(--card); cursor: pointer;
          text-decoration: none; color: var(--ink); white-space: nowrap; line-height: 1.5; }
        button:hover, .button:hover { border-color: var(--quiet); } button:active { transform: translateY(1px); }
        .primary { background: var(--leaf); border-color: var(--leaf); color: var(--on-leaf); font-weight: 600; }
        .primary:hover { background: var(--leaf-strong); border-color: var(--leaf-strong); }
        button.plain { padding: .15rem .5rem; background: none; border-color: transparent; color: var(--leaf); font-size: .9em; }
        button.plain:hover { background: var(--raised); } button.bad { color: var(--brick); } button.bad:not(.plain) { border-color: var(--brick); }
        .account button.plain { padding: .15rem .35rem; margin-left: -.35rem; }
        input, select, textarea { border: 1px solid color-mix(in srgb, var(--quiet) 55%, var(--line)); background: var(--card); padding: .4rem .7rem; width: 100%; }
        input[type=checkbox] { width: auto; accent-color: var(--leaf); } textarea { font: .86em/1.5 var(--mono); resize: vertical; }
        input[name=where], input[name=condition], input[name=payload] { font: 13.5px/23.25px var(--mono); } ::placeholder { color: var(--quiet); opacity: .8; }
        input:user-invalid, [aria-invalid=true] { border-color: var(--brick); }
        label { display: grid; gap: .25rem; font-size: .87rem; color: var(--quiet); } label > * { color: var(--ink); font-size: 15px; }
        label.check { display: flex; align-items: center; gap: .5rem; }
        .filter { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; margin-bottom: .8rem; } .filter label { flex: 1 1 16rem; }
        .filter label.short { flex: 0 1 12rem; } .filter label.check { flex: 0 0 auto; padding-bottom: .45rem; }
        .stack { display: grid; gap: 1rem; max-width: 30rem; } .stack.wide { max-width: 60rem; } .stack p { margin: 0; }
        .row { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; } .row.spread { gap: 1rem 1.5rem; align-items: start; }
        .row select { width: auto; }

        .overview { margin-bottom: 2.6rem; } .hedge { display: block; width: 100%; height: 4.2rem; margin-bottom: .2rem; border-bottom: 2px solid var(--line); }
        .hedge path { stroke: var(--rest); stroke-width: 2.6; stroke-linecap: round; } .hedge .good { stroke: var(--leaf); }
        .hedge .warn { stroke: #c98a1b; } .hedge .bad { stroke: #c4492c; }
        .counts { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 0 1.5rem; margin: .9rem 0 .8rem; }
        .counts a, .counts li > span { display: block; color: inherit; text-decoration: none; border-radius: .4rem; } .counts a:hover span { text-decoration: underline; }
        .counts b { display: block; font: 500 2.3rem/1.15 var(--serif); font-variant-numeric: lining-nums tabular-nums; }
        .counts span span, .counts a span { color: var(--quiet); } .counts .good b { color: var(--leaf); } .counts .warn b { color: var(--amber); } .counts .bad b { color: var(--brick); }
        .strip { list-style: none; padding: 0; display: grid; gap: .45rem; max-width: 46rem; } .overview h3 { margin-top: 1.4rem; }
        .strip li { display: grid; grid-template-columns: minmax(7rem, 14rem) 1fr auto; gap: 1rem; align-items: center; }
        .bar { display: block; width: 100%; height: .5rem; border-radius: .25rem; min-width: 6rem; } .bar .rest { fill: var(--rest); opacity: .55; }
        .bar .good { fill: var(--leaf); } .bar .warn { fill: #c98a1b; } .bar .bad { fill: #c4492c; } .big-bar .bar { height: .8rem; border-radius: .4rem; }
        td .bar { margin-top: .35rem; } .progress { min-width: 9rem; }

        .chips ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: 1rem; }
        .chips a { display: block; padding: .2rem .8rem; border: 1px solid var(--line); border-radius: 2rem; color: var(--ink); text-decoration: none;
          font-size: .9rem; background: var(--card); } .chips a:hover { border-color: var(--quiet); }
        .chips a[aria-current] { background: var(--leaf); border-color: var(--leaf); color: var(--on-leaf); } .chips .saved a { border-style: dashed; }
        .scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; margin-bottom: .8rem; box-shadow: 0 1px 3px var(--shade); }
        table { width: 100%; border-collapse: collapse; font-size: .93rem; }
        th, td { text-align: left; padding: .55rem .9rem; border-bottom: 1px solid var(--line); vertical-align: top; font-weight: 400; }
        tbody tr:last-child > * { border-bottom: 0; } thead th { color: var(--quiet); font-size: .83rem; white-space: nowrap; }
        tbody th { white-space: nowrap; } tbody th a { font-weight: 600; text-decoration: none; } tbody th a:hover { text-decoration: underline; }
        tbody tr:hover > *, tbody tr:focus-within > * { background: color-mix(in srgb, var(--leaf-soft) 35%, transparent); }
        .number { text-align: right; font-variant-numeric: tabular-nums; } td.bad { color: var(--brick); font-weight: 600; } td time { white-space: nowrap; }
        td.image code { display: inline-block; min-width: 14rem; } .strip .number { font-size: .9rem; color: var(--quiet); }
        .kind { font-size: .75rem; color: var(--quiet); border: 1px solid var(--line); border-radius: .3rem; padding: 0 .35rem; margin-left: .2rem; font-weight: 400; }
        .badge { display: inline-block; padding: .02rem .6rem; border-radius: 1rem; font-size: .83rem; white-space: nowrap; background: var(--raised); color: var(--quiet); }
        .badge.good { background: var(--leaf-soft); color: var(--leaf-strong); } .badge.warn { background: var(--amber-soft); color: var(--amber); }
        .badge.bad { background: var(--brick-soft); color: var(--brick); }
        .reason { display: block; font-size: .85rem; color: var(--quiet); max-width: 30rem; margin-top: .15rem; overflow-wrap: anywhere; }
        .tag { display: inline-block; font-size: .83rem; padding: 0 .5rem; margin: 0 .25rem .2rem 0; border-radius: .35rem; background: var(--raised); color: var(--quiet); text-decoration: none; }
        a.tag { color: var(--leaf); } .tag b { font-weight: 500; color: var(--ink); } .tag.faint { background: none; box-shadow: inset 0 0 0 1px var(--line); }
        .pager { display: flex; gap: 1.4rem; font-size: .93rem; }
        .facts { display: flex; flex-wrap: wrap; gap: .9rem 2.4rem; margin: 0 0 1.8rem; } .facts dt { font-size: .83rem; color: var(--quiet); } .facts dd { margin: 0; }
        .twins { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem; } .twins > div { min-width: 0; }
        .twins pre { max-height: 24rem; margin: 0; } .twins h3 span { font: 400 .85rem var(--sans); } .differences td { max-width: 16rem; } td.before { color: var(--leaf); } td.after { color: var(--brick); }

        .refusal, .success { border-radius: .6rem; padding: .7rem 1rem; margin: 0 0 1rem; border-left: 4px solid var(--brick); background: var(--brick-soft); max-width: 60rem; overflow-wrap: anywhere; }
        .success { border-color: var(--leaf); background: var(--leaf-soft); } .refusal p, .success p { margin: 0 0 .3rem; }
        .mistake { background: none; border: 0; padding: 0; margin: 0; color: inherit; } mark { background: var(--brick); color: var(--brick-soft); border-radius: .15rem; }
        .nothing { color: var(--quiet); padding: 1.2rem; border: 1px dashed var(--line); border-radius: .75rem; max-width: none; }
        .card, .door-card { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.5rem; box-shadow: 0 1px 3px var(--shade); }
        .first-run { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.8rem clamp(1rem, 3vw, 2.2rem); max-width: 56rem; }
        .first-run ol { padding-left: 1.3rem; } .first-run li::marker { font-family: var(--serif); color: var(--leaf); font-weight: 600; } .first-run pre { background: var(--paper); }
        details { margin-bottom: .9rem; } summary { cursor: pointer; color: var(--leaf); border-radius: .3rem; } details[open] > summary { margin-bottom: .6rem; }
        .help ul { padding-left: 1.2rem; font-size: .93rem; } .help li { margin-bottom: .25rem; color: var(--quiet); } .danger summary { color: var(--brick); }
        .groups { list-style: none; padding: 0; } .groups summary { color: var(--ink); overflow-wrap: anywhere; } .groups p { padding-left: 1.4rem; max-width: none; }
        .secret { display: flex; gap: .8rem; align-items: start; background: var(--raised); border-radius: .6rem; padding: .8rem 1rem; margin-bottom: .6rem; } .secret code { flex: 1; }

        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem; margin-bottom: .8rem; }
        figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: .7rem .9rem; }
        figcaption { font-size: .87rem; color: var(--quiet); min-height: 2.1rem; display: flex; align-items: center; } figcaption label { display: flex; align-items: center; gap: .5rem; }
        figcaption select { width: auto; max-width: 16rem; padding: .1rem .4rem; font-size: .9rem; } [data-chart] { display: block; width: 100%; height: 8rem; }
        [data-chart] .line { fill: none; stroke: var(--leaf); stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; } [data-chart] .area { fill: var(--leaf-soft); }
        [data-chart] .grid { stroke: var(--line); vector-effect: non-scaling-stroke; } [data-chart] text { fill: var(--quiet); font: 10px var(--sans); }
        .messages { list-style: none; padding: 0; margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow: auto; line-height: 1.5; }
        .messages:empty { display: none; } .messages.short { max-height: 22rem; } .messages.tall { max-height: 60vh; }
        .messages li { display: grid; grid-template-columns: 6.5em minmax(8em, 16em) 1fr; gap: .9em; padding: .3rem .9rem; border-bottom: 1px solid var(--line); }
        .messages li:last-child { border: 0; } .messages .body { overflow-wrap: anywhere; } .messages .sender { color: var(--leaf); overflow-wrap: anywhere; } .messages .when { color: var(--quiet); }
        .messages .property { color: var(--quiet); margin-right: .8em; } .rate b { font: 500 1.3rem var(--serif); color: var(--ink); font-variant-numeric: tabular-nums; }
        .log { max-height: 26rem; white-space: pre-wrap; overflow-wrap: anywhere; }
        .connection { position: fixed; inset: auto 1rem 1rem auto; background: var(--amber-soft); color: var(--amber); border: 1px solid currentColor; border-radius: .6rem; padding: .5rem 1rem; }
        dialog { color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.5rem 2rem; box-shadow: 0 1rem 3rem var(--shade); } dialog::backdrop { background: rgb(10 20 14 / .4); }
        .keys { display: grid; grid-template-columns: auto 1fr; gap: .5rem 1.5rem; margin: 0 0 1.2rem; } .keys dd { margin: 0; } kbd { background: var(--raised); border: 1px solid var(--line); border-radius: .3rem; padding: .05rem .4rem; }
        .door { min-height: 100vh; display: grid; } .door main { max-width: none; width: 100%; padding: 0; display: grid; grid-template-rows: 1fr auto; min-height: 100vh; }
        .door-card { width: min(26rem, calc(100% - 2rem)); margin: auto; padding: 2rem; } .door-card h1 { font-size: 1.7rem; margin: 1.4rem 0 .2rem; } .door-card details { margin: 1.4rem 0 0; font-size: .93rem; }
        .door-card pre { background: var(--paper); white-space: pre-wrap; } .door .hedge { height: 7rem; margin: 0; border: 0; opacity: .85; }

        @media (max-width: 60rem) {
          .shell { display: block; } .rail { position: static; height: auto; flex-flow: row wrap; align-items: center; gap: .6rem 1.2rem; padding: .8rem 1rem; border-right: 0; border-bottom: 1px solid var(--line); }
          .rail nav { order: 3; width: 100%; overflow-x: auto; } .rail nav ul { display: flex; } .rail nav a { margin: 0; padding: .35rem .8rem; }
          .account { margin: 0 0 0 auto; } .account p { display: none; } .account .row { gap: .1rem; flex-wrap: nowrap; } main { padding-top: 1.2rem; } h1 { font-size: 1.7rem; }
          .counts { grid-template-columns: repeat(auto-fit, minmax(6.2rem, 1fr)); } .counts b { font-size: 1.8rem; } .hedge { height: 3rem; }
        }
        @media (max-width: 40rem) {
          table.fleet thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; } table.fleet, table.fleet tbody, table.fleet tr { display: block; }
          table.fleet tr { display: grid; grid-template-columns: 1fr auto; gap: .15rem .6rem; padding: .6rem .9rem; border-bottom: 1px solid var(--line); } table.fleet tr:last-child { border: 0; }
          table.fleet tr > * { border: 0; padding: 0; } table.fleet td:nth-child(n+3) { grid-column: 1 / -1; } table.fleet td:empty { display: none; }
          .messages li { grid-template-columns: auto 1fr; } .messages .body { grid-column: 1 / -1; } .filter label, .filter label.short { flex: 1 1 100%; }
          .strip li { grid-template-columns: 1fr auto; } .strip .bar { grid-column: 1 / -1; grid-row: 2; } .account [data-dialog] { display: none; }
        }
        @media (prefers-reduced-motion: no-preference) { .bar rect { transition: width .4s, x .4s; } tr.fresh > * { animation: fresh 2.5s; } @keyframes fresh { from { background: var(--leaf-soft); } } }
        @media print { .rail, .filter, .actions, button { display: none; } .shell { display: block; } }
        """
}
