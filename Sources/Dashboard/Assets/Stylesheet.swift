enum Stylesheet {
    static let text = """
        :root { color-scheme: light dark; --ink: #1d2520; --paper: #fbfaf5; --line: #d8d5c8; --leaf: #2f6b3c; --bad: #a3261b;
          --quiet: #5d6660; --card: #ffffff; }
        @media (prefers-color-scheme: dark) { :root { --ink: #e8ebe6; --paper: #151a17; --line: #38423b; --leaf: #8fcf9d;
          --bad: #ff9d92; --quiet: #a4aea7; --card: #1d241f; } }
        * { box-sizing: border-box; }
        body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
        header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding: .6rem 1rem;
          border-bottom: 1px solid var(--line); background: var(--card); }
        header form { margin-left: auto; display: flex; gap: .6rem; align-items: center; color: var(--quiet); }
        .brand { font-weight: 700; color: var(--leaf); text-decoration: none; font-size: 1.15rem; }
        nav a { margin-right: .8rem; } a { color: var(--leaf); }
        .skip { position: absolute; left: -999px; } .skip:focus { left: 1rem; top: .3rem; }
        main { max-width: 75rem; margin: 0 auto; padding: 1rem; } h1 { font-size: 1.6rem; margin: .4rem 0 1rem; }
        h2 { font-size: 1.1rem; margin: 1.4rem 0 .5rem; }
        table { width: 100%; border-collapse: collapse; background: var(--card); display: block; overflow-x: auto; }
        th, td { text-align: left; padding: .4rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
        th { color: var(--quiet); font-weight: 600; white-space: nowrap; }
        .counts { list-style: none; padding: 0; display: flex; gap: 1.5rem; flex-wrap: wrap; } .counts b { font-size: 1.6rem; }
        .badge { padding: .05rem .5rem; border-radius: 1rem; border: 1px solid currentColor; font-size: .85rem; }
        .good { color: var(--leaf); } .bad, .refusal { color: var(--bad); } .quiet, .hint { color: var(--quiet); }
        input, textarea, button { font: inherit; padding: .35rem .6rem; border: 1px solid var(--quiet); border-radius: .35rem;
          background: var(--card); color: var(--ink); } button { cursor: pointer; }
        :focus-visible { outline: 3px solid var(--leaf); outline-offset: 1px; }
        label { display: inline-flex; flex-direction: column; font-size: .9rem; color: var(--quiet); margin: 0 .6rem .6rem 0; }
        .filter { display: flex; align-items: end; } .filter label { flex: 1; } .filter button { margin-bottom: .6rem; }
        .sign-in { display: grid; max-width: 26rem; gap: .6rem; } pre { background: var(--card); border: 1px solid var(--line);
          padding: .7rem; overflow: auto; border-radius: .35rem; } .twins { display: grid; gap: 1rem;
          grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
        .messages { padding: 0; list-style: none; font: .85rem/1.6 ui-monospace, monospace; max-height: 30rem; overflow: auto; }
        .messages li { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
        progress { width: 8rem; accent-color: var(--leaf); }
        """
}
