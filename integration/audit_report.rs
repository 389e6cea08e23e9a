//! The report, in a real browser: what a person sees, clicks and types; and its server.

use crate::harness::{Browser, Host, Key, until};

/// A shop: web may speak to db by a link; a stranger next to them may not.
fn shop() -> Host {
    let host = Host::with(&["--icc=false"]);
    host.run("busybox").name("db").flags(&["--expose", "5432"]).sh("httpd -f -p 5432").start();
    host.run("busybox").name("web").flags(&["--link", "db:store"]).publish("8080:80").serving().start();
    host.run("busybox").name("stranger").cmd(&["sleep", "1000"]).start();
    host
}

/// The report as a file, opened.
#[track_caller]
fn report(host: &Host) -> Browser<'_> {
    report_with(host, &[])
}

#[track_caller]
fn report_with<'h>(host: &'h Host, flags: &[&str]) -> Browser<'h> {
    let page = host.pontoon(&[&["audit", "matrix", "--format", "html"][..], flags].concat()).ok();
    assert!(!page.contains("<script src") && !page.contains("stylesheet") && !page.contains("@import"), "in one piece");
    let file = host.dir().join("report.html");
    std::fs::write(&file, page).unwrap();
    host.browser(&format!("file://{}", file.display()))
}

/// The cell of a pair, as an expression.
fn cell(from: &str, to: &str) -> String {
    format!("[...document.querySelectorAll('#grid td')].find(c => (c.ariaLabel || '').startsWith('{from} to {to}:'))")
}

#[test]
fn a_person_filters_clicks_and_reads_why() {
    let host = shop();
    let page = report(&host);
    assert_eq!(page.text("document.title").split(" – ").next(), Some("Who can talk to whom"));
    assert_eq!(page.text(&format!("{}.textContent", cell("web", "db"))), "●");
    assert_eq!(page.text(&format!("{}.textContent", cell("stranger", "db"))), "·");
    assert!(page.text("document.querySelector('.verdict').textContent").contains("Agreement"));

    // A click: why, in words, with the three verdicts.
    page.value(&format!("{}.click()", cell("web", "db")));
    assert_eq!(page.text("document.getElementById('detail-title').textContent"), "web → db");
    let why = page.text("document.getElementById('detail-body').textContent");
    for words in
        ["web can reach db on 5432/tcp", "store", "should pass", "Kernel", "Packets", "pontoon audit why web db"]
    {
        assert!(why.contains(words), "{words:?} in {why}");
    }
    page.value(&format!("{}.click()", cell("stranger", "db")));
    let why = page.text("document.getElementById('detail-body').textContent");
    assert!(why.contains("stranger cannot reach db") && why.contains("no link opens it"), "{why}");

    // A filter: by name, by port, by what passes.
    let shown = || page.text("document.getElementById('shown').textContent");
    let everything = shown();
    page.click("#q");
    page.type_in("5432/tcp");
    // Where any port is meant, as on the LAN, this one is, too.
    let columns = "[...document.querySelectorAll('#grid thead th[role=columnheader]')].map(h => h.textContent)";
    page.sees(&format!("{columns}.includes('db') && !{columns}.includes('web') && !{columns}.includes('stranger')"));
    page.click("#reset");
    page.sees("document.getElementById('q').value === ''");
    page.sees(&format!("document.getElementById('shown').textContent === {everything:?}"));
    page.value("(document.getElementById('show').value = 'allowed', document.getElementById('filters').dispatchEvent(new Event('input')))");
    page.sees(&format!("!{}", cell("stranger", "db")));
    page.sees(&format!("{}.textContent === '●'", cell("web", "db")));
    page.value("(document.getElementById('show').value = 'disagree', document.getElementById('filters').dispatchEvent(new Event('input')))");
    page.sees("document.getElementById('grid').textContent.includes('Nothing matches')");
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn packets_have_the_third_word() {
    let host = shop();
    let table = host.pontoon(&["audit", "matrix", "--probe", "--to", "db"]).ok();
    let line = table.lines().find(|line| line.starts_with("web") && line.contains("5432/tcp")).expect("web may");
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..5], ["allow", "allow", "allow"], "{table}");
    assert!(table.lines().next().is_some_and(|head| head.contains("PACKETS")), "{table}");
    let page = report_with(&host, &["--probe"]);
    let says = page.text("document.querySelector('.verdict').textContent");
    assert!(says.contains("Agreement") && says.contains("probed flow"), "{says}");
    page.value(&format!("{}.click()", cell("stranger", "db")));
    let why = page.text("document.getElementById('detail-body').textContent");
    assert!(why.contains("does not passwhat a real packet did"), "{why}");
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn all_of_it_by_keyboard() {
    let host = shop();
    let page = report(&host);
    page.press(&[Key::Letter('/')]);
    assert_eq!(page.text("document.activeElement.id"), "q");
    page.type_in("web");
    page.sees("document.querySelectorAll('#grid tbody tr').length > 1");
    // From the search field over the selects and the button into the matrix: one stop for all of its cells.
    let stops = "document.activeElement.getAttribute('role') === 'gridcell'";
    for _ in 0..8 {
        if page.value(stops) == true {
            break;
        }
        page.press(&[Key::Tab]);
    }
    page.sees(stops);
    let before = page.text("document.activeElement.ariaLabel");
    page.press(&[Key::Down]);
    page.press(&[Key::Right]);
    assert_ne!(page.text("document.activeElement.ariaLabel"), before, "the focus moves");
    page.press(&[Key::Enter]);
    page.sees("!document.getElementById('detail').hidden");
    assert_eq!(page.text("document.activeElement.id"), "detail-title", "what was opened has the focus");
    page.press(&[Key::Escape]);
    page.sees("document.getElementById('detail').hidden");
    page.sees(stops);
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn a_table_that_stands_in_the_way_is_the_first_finding() {
    let host = shop();
    host.sh("nft 'table ip other { chain f { type filter hook forward priority 10; policy accept; \
         tcp dport 5432 drop comment \"not here\"; }; }'")
        .ok();
    let page = report(&host);
    assert!(page.text("document.querySelector('.verdict').textContent").contains("Disagreement"));
    let finding = page.text("document.querySelector('#findings .finding').textContent");
    assert!(finding.contains("web") && finding.contains("db") && finding.contains("other"), "{finding}");
    assert_eq!(page.text(&format!("{}.textContent", cell("web", "db"))), "!");
    host.sh("nft delete table ip other").ok();
}

#[test]
fn names_from_containers_are_text() {
    let host = Host::new();
    let label = "x=</script><img src=x onerror=document.title='owned'>";
    host.run("busybox").name("web").flags(&["--label", label]).cmd(&["sleep", "1000"]).start();
    let page = report(&host);
    assert!(page.text("document.title").starts_with("Who can talk to whom"));
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn it_is_served_live_to_this_machine_only() {
    let host = shop();
    let serve = host.itself().background(&[
        crate::harness::pontoon_binary().to_str().unwrap(),
        "--host",
        "unix:///run/pontoon/pontoon.sock",
        "audit",
        "serve",
        "127.0.0.1:7373",
    ]);
    until("it is served", || host.sh("curl -sf --noproxy '*' http://127.0.0.1:7373/").code == 0);
    let page = host.browser("http://127.0.0.1:7373/");
    page.sees("document.documentElement.dataset.live !== undefined");
    page.sees(&format!("!{}", cell("late", "db")));
    host.run("busybox").name("late").flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    // The page finds out by itself.
    page.sees(&format!("({} || {{}}).textContent === '●'", cell("late", "db")));
    assert_eq!(page.console(), Vec::<String>::new());

    // A page of somebody else's, under a name that leads here.
    let stranger = host.sh("curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -H 'Host: evil.example:7373' http://127.0.0.1:7373/report.json");
    assert_eq!(stranger.ok(), "421");
    let itself = host.sh("curl -s --noproxy '*' -o /dev/null -w '%{http_code}' http://localhost:7373/report.json");
    assert_eq!(itself.ok(), "200");
    host.lan().cannot_get("http://192.0.2.1:7373/");
    drop(serve);
}
