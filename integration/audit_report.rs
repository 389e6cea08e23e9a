//! The report, in a real browser: what a person sees, clicks and types; and its server.

use pontoon::model::audit::{Cell, Intended, Matrix, Party, PartyKind, PartyPort, Reason, Verdict, Way};
use pontoon::model::{PortRange, Protocol};
use pontoon::report::{Data, Kept, Sources, page};

use crate::harness::{Browser, Host, Key, eventually, until};

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
    page.sees(&format!("{}.textContent === ''", cell("stranger", "db")));
    assert!(page.text(&format!("{}.ariaLabel", cell("stranger", "db"))).contains("left out by the filter"));
    page.sees(&format!("{}.textContent === '●'", cell("web", "db")));
    page.value("(document.getElementById('show').value = 'disagree', document.getElementById('filters').dispatchEvent(new Event('input')))");
    page.sees("!document.getElementById('nothing').hidden && document.getElementById('scroll').hidden");
    let none = shown();
    assert!(none.starts_with("0 of ") && everything.starts_with("All "), "{none} {everything}");
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

/// So many containers that serve on 80, of which each has a link to the next; the fourth's is in the way of something.
fn a_matrix_of(many: usize) -> Matrix {
    let ports = PortRange { protocol: Protocol::Tcp, first: 80, last: 80 };
    let party = |at: usize| Party {
        name: format!("c{at:03}"),
        kind: PartyKind::Container,
        id: None,
        mode: Some("bridge".to_owned()),
        addresses: vec![],
        shares: None,
        labels: Default::default(),
        ports: vec![PartyPort { ports, exposed: true, published: vec![], listeners: vec![] }],
    };
    let cell = |from: usize, to: usize| {
        let linked = to == from + 1;
        let (intent, kernel) = if linked { (Intended::Allow, Verdict::Allow) } else { (Intended::Deny, Verdict::Deny) };
        let kernel = if linked && from == 3 { Verdict::Deny } else { kernel };
        let by = if linked { Way::Link { alias: "next".to_owned() } } else { Way::Direct };
        let (service, reason, decider) = ("80/tcp".parse().unwrap(), usize::from(linked), None);
        let (probe, listening, hits) = (None, Some(true), linked.then_some(from as u64));
        Cell { from, to, service, by, intent, reason, kernel, decider, probe, listening, hits }
    };
    let pairs = (0..many).flat_map(|from| (0..many).map(move |to| (from, to))).filter(|(from, to)| from != to);
    Matrix {
        taken: "2026-01-02T03:04:05Z".to_owned(),
        host: "big".to_owned(),
        icc: false,
        parties: (0..many).map(party).collect(),
        cells: pairs.map(|(from, to)| cell(from, to)).collect(),
        reasons: vec![Reason::NoLink, Reason::Link { alias: "next".to_owned() }],
        ..Matrix::empty()
    }
}

/// The report about so many.
#[track_caller]
fn report_of(host: &Host, many: usize) -> Browser<'_> {
    let file = host.dir().join("many.html");
    std::fs::write(&file, page(&Data::of(&Sources::of(a_matrix_of(many))), Kept::File)).unwrap();
    host.browser(&format!("file://{}", file.display()))
}

const FOCUS: &str = "(document.activeElement.ariaLabel || document.activeElement.id)";

#[test]
fn of_a_large_matrix_what_is_seen_is_drawn() {
    let host = Host::bare();
    let page = report_of(&host, 220);
    let drawn = page.value("document.querySelectorAll('#grid td').length").as_u64().unwrap();
    assert!((200..5000).contains(&drawn), "{drawn} of 48,400 cells are drawn");
    assert_eq!(page.text("document.getElementById('grid').ariaRowCount"), "221", "those not drawn are counted");
    assert_eq!(page.value("document.getElementById('overview').hidden"), false, "and seen in the picture");

    // To where nothing is drawn yet, and back.
    page.value("document.querySelector('#grid td[tabindex=\"0\"]').focus()");
    page.press_together(&[Key::Control, Key::End]);
    assert_eq!(page.text(FOCUS), "c219 to itself");
    let place = "[document.activeElement.ariaColIndex, document.activeElement.parentElement.ariaRowIndex].join()";
    assert_eq!(page.text(place), "221,221");
    assert_eq!(page.text("document.querySelector('#grid thead tr').lastElementChild.textContent"), "c219");
    // What has the focus goes out of sight: the grid has it, and a key goes on from there.
    page.value("document.getElementById('scroll').scrollTo(0, 0)");
    page.sees("document.activeElement.id === 'grid' && document.activeElement.tabIndex === 0");
    page.press(&[Key::Right]);
    assert_eq!(page.text(FOCUS), "c219 to itself", "there is no column beyond");

    // A filter, a click and its words.
    page.click("#q");
    page.type_in("c003");
    page.sees("document.getElementById('shown').textContent.startsWith('2 of 48,180 flows shown')");
    assert_eq!(page.text(&format!("{}.textContent", cell("c003", "c004"))), "!");
    page.value(&format!("{}.click()", cell("c002", "c003")));
    let why = page.text("document.getElementById('detail-body').textContent");
    assert!(why.contains("2 connection attempts from c002 so far"), "{why}");
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn an_address_leads_to_a_cell() {
    let host = Host::bare();
    let page = report_of(&host, 100);
    page.value("(document.getElementById('show').value = 'disagree', document.getElementById('filters').dispatchEvent(new Event('input')))");
    page.value(&format!("{}.click()", cell("c003", "c004")));
    page.sees("location.hash === '#show=disagree&cell=c003+c004'");
    let link = page.text("document.getElementById('detail-link').href");
    page.go("about:blank");
    page.go(&link);
    page.sees("document.getElementById('detail-title').textContent === 'c003 → c004'");
    assert_eq!(page.text("document.getElementById('show').value"), "disagree");
    assert_eq!(page.text("document.activeElement.id"), "detail-title");
    assert!(page.text("document.getElementById('detail-body').textContent").contains("The verdicts disagree"));
    // Closed, it is gone from the address; and who is gone is named.
    page.press(&[Key::Escape]);
    page.sees("location.hash === '#show=disagree'");
    page.value("(location.hash = 'cell=c003+nobody', 1)");
    page.sees("document.getElementById('gone').textContent.includes('nobody')");
    page.sees("document.getElementById('show').value === 'all'");
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn what_is_printed_is_whole() {
    let host = Host::bare();
    let page = report_of(&host, 100);
    let lines = "document.querySelectorAll('#flows tbody tr').length";
    assert_eq!(page.value(lines), 60, "on the screen the first");
    page.value("(dispatchEvent(new Event('beforeprint')), 1)");
    assert_eq!(page.value(lines), 98, "on paper all");
    assert_eq!(page.value("document.querySelectorAll('#parties tbody tr').length"), 100);
    let printed = "document.getElementById('printed').textContent";
    assert!(page.text(printed).contains("does not fit on paper: the list"), "{}", page.text(printed));
    page.value("(dispatchEvent(new Event('afterprint')), 1)");
    assert_eq!(page.value(lines), 60);

    // Filtered, it fits: in parts, each with the names on both axes (and on each page: a table's head is repeated).
    page.click("#q");
    page.type_in("c00");
    page.sees("document.getElementById('shown').textContent.includes('from 10 to 11')");
    page.value("(dispatchEvent(new Event('beforeprint')), 1)");
    assert_eq!(page.value("document.querySelectorAll('#printed thead th').length"), 12);
    assert_eq!(page.value("document.querySelectorAll('#printed tbody th').length"), 10);
    assert!(page.text(printed).starts_with("Filtered by q = c00."), "{}", page.text(printed));
    assert_eq!(page.console(), Vec::<String>::new());
}

#[test]
fn its_counts_are_the_command_lines() {
    let host = shop();
    host.run("busybox").name("side").net("container:web").cmd(&["sleep", "1000"]).start();
    let csv = host.pontoon(&["audit", "matrix", "--format", "csv"]).ok();
    let kernel = csv.lines().next().unwrap().split(',').position(|it| it == "kernel").expect("a column");
    let flows: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').nth(kernel).unwrap()).collect();
    let passing = flows.iter().filter(|verdict| **verdict == "allow").count();
    let page = report(&host);
    assert_eq!(
        page.text("document.getElementById('shown').textContent").split(',').next(),
        Some(&*format!("All {} flows shown", flows.len()))
    );
    let figures = page.text("[...document.querySelectorAll('.figure:not(.verdict)')].map(f => f.textContent).join()");
    let words = format!("4containers,{passing}flows pass,{}flows do not pass,", flows.len() - passing);
    assert!(figures.starts_with(&words), "{figures} is not {words}");
    let says = page.text("document.querySelector('.verdict').textContent");
    assert!(says.contains(&format!("agree in all {} flows", flows.len())), "{says}");
    let sections = page.text("document.getElementById('sections').textContent");
    assert!(
        sections.contains(&format!("Matrix {} flows", flows.len()))
            && sections.contains(&format!("passes {passing} flows")),
        "{sections}"
    );
}

#[test]
fn a_cell_tells_how_often_its_hole_was_used() {
    let host = Host::with(&["--icc=false"]);
    host.run("busybox").name("db").flags(&["--expose", "5432"]).sh("httpd -f -h /www -p 5432").start();
    let web = host.run("busybox").name("web").flags(&["--link", "db:store"]).publish("8080:80").serving().start();
    until("the database answers", || web.sh("nc -w 1 store 5432 </dev/null").code == 0);
    assert_eq!(host.lan().get("http://192.0.2.1:8080/"), "hello");
    let page = report(&host);
    let used = |from: &str, to: &str| {
        page.value(&format!("{}.click()", cell(from, to)));
        page.text("[...document.querySelectorAll('#detail-body .hint')].map(p => p.textContent).join(' ')")
    };
    let link = used("web", "db");
    assert!(
        link.contains("connection attempt") && link.contains("from web so far") && !link.contains("Never"),
        "{link}"
    );
    let port = used("lan", "web");
    assert!(port.contains("1 connection attempt by this published port, from whomever so far"), "{port}");
    let other = used("db", "web");
    assert!(other.contains("1 connection attempt by this published port"), "{other}");
    assert!(!used("host", "db").contains("attempt"), "nothing counts there");
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
    page.value(&format!("{}.focus()", cell("web", "db")));
    let focus = page.text(FOCUS);
    assert!(focus.starts_with("web to db: passes"), "{focus}");
    host.run("busybox").name("late").flags(&["--link", "db"]).cmd(&["sleep", "1000"]).start();
    // The page finds out by itself, and leaves the focus where it is.
    page.sees(&format!("({} || {{}}).textContent === '●'", cell("late", "db")));
    assert_eq!(page.text(FOCUS), focus);
    assert!(page.text("document.getElementById('taken').textContent").contains(" UTC"), "times have a zone");
    assert_eq!(page.console(), Vec::<String>::new());
    many_ask_at_once(&host);

    // A page of somebody else's, under a name that leads here.
    let stranger = host.sh("curl -s --noproxy '*' -o /dev/null -w '%{http_code}' -H 'Host: evil.example:7373' http://127.0.0.1:7373/report.json");
    assert_eq!(stranger.ok(), "421");
    let itself = host.sh("curl -s --noproxy '*' -o /dev/null -w '%{http_code}' http://localhost:7373/report.json");
    assert_eq!(itself.ok(), "200");
    host.lan().cannot_get("http://192.0.2.1:7373/");
    drop(serve);
}

/// One answer is for all of them; and a later one is a new one.
fn many_ask_at_once(host: &Host) {
    let ask = "curl -sf --noproxy '*' -o /dev/null -w '%header{x-taken}\\n' http://127.0.0.1:7373/report.json";
    let all = host.sh(&format!("for i in $(seq 20); do {ask} & done; wait")).ok();
    let mut taken: Vec<&str> = all.lines().collect();
    assert_eq!(taken.len(), 20, "{all}");
    taken.sort_unstable();
    taken.dedup();
    // Two, if an answer that was still good went out of date meanwhile.
    assert!(taken.len() <= 2, "{taken:?}");
    let last = (*taken.last().expect("one")).to_owned();
    eventually("it is as of later", || {
        let now = host.sh(ask).ok();
        if now.trim() > last.as_str() { Ok(()) } else { Err(now) }
    });
}
