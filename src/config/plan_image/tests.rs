use proptest::prelude::*;

use super::*;

const OPEN: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" viewBox=\"0 0 40 25\">";

fn read(text: &str) -> Result<(PlanImage, String), PlanImageError> {
    let image = PlanImage::read(text.as_bytes().to_vec())?;
    let text = String::from_utf8(image.bytes.clone()).unwrap();
    Ok((image, text))
}

/// The picture with that in it, once safe.
fn safe(inner: &str) -> String {
    read(&format!("{OPEN}{inner}<rect id=\"kept\" width=\"1\" height=\"1\"/></svg>")).unwrap().1
}

/// What is left of that.
fn left(inner: &str) -> String {
    let safe = safe(inner);
    let start = safe.find('>').unwrap() + 1;
    safe[start..safe.find("<rect id=\"kept\"").expect("what comes after is kept")].to_owned()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(b"\x08\x02\0\0\0\0\0\0\0");
    bytes
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08".to_vec();
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend(b"\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9");
    bytes
}

fn encoded(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(DIGITS[(bits >> (18 - 6 * place) & 63) as usize].into());
        }
        out.push_str(&"="[..(3 - chunk.len()).min(1)].repeat(3 - chunk.len()));
    }
    out
}

#[test]
fn pictures_are_known_by_their_first_bytes() {
    let image = PlanImage::read(png(1200, 800)).unwrap();
    assert_eq!((image.format, image.width, image.height), (PlanFormat::Png, 1200, 800));
    let image = PlanImage::read(jpeg(640, 480)).unwrap();
    assert_eq!((image.format, image.width, image.height), (PlanFormat::Jpeg, 640, 480));
    for (bytes, wanted) in [
        (Vec::new(), PlanImageError::Empty),
        (b"GIF89a\x01\0\x01\0".to_vec(), PlanImageError::UnknownFormat),
        (b"%PDF-1.7".to_vec(), PlanImageError::UnknownFormat),
        (b"\x89PNG\r\n\x1a\n".to_vec(), PlanImageError::Header("PNG")),
        (b"\xff\xd8\xff".to_vec(), PlanImageError::Header("JPEG")),
        (png(0, 5), PlanImageError::Header("PNG")),
        (png(10_000, 5_001), PlanImageError::TooManyPixels { width: 10_000, height: 5_001 }),
        (
            png(u32::MAX, u32::MAX),
            PlanImageError::TooManyPixels { width: u32::MAX as usize, height: u32::MAX as usize },
        ),
        (vec![b'<'; MAX_PLAN_BYTES + 1], PlanImageError::TooLarge(MAX_PLAN_BYTES + 1)),
    ] {
        assert_eq!(PlanImage::read(bytes).unwrap_err(), wanted);
    }
}

#[test]
fn the_plans_of_the_example_store_are_taken_whole() {
    for text in [
        include_str!("../../../deploy/examples/store/floor-0.svg"),
        include_str!("../../../deploy/examples/store/floor-1.svg"),
    ] {
        let (image, safe) = read(text).unwrap();
        assert_eq!((image.width, image.height), (41, 26));
        for part in ["<path", "<rect", "<text", "<g", "class=", ".shelf {"] {
            assert_eq!(safe.matches(part).count(), text.matches(part).count(), "{part}");
        }
        assert!(safe.contains("viewBox=\"-0.5 -0.5 41 26\""), "{safe}");
        assert!(safe.contains("stroke-width: 0.05"), "{safe}");
        // What is safe stays as it is.
        assert_eq!(read(&safe).unwrap().1, safe);
    }
}

#[test]
fn sizes_come_from_the_view_box_or_the_sides() {
    let size = |attributes: &str| {
        let text = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" {attributes}><g/></svg>");
        read(&text).map(|(image, _)| (image.width, image.height))
    };
    assert_eq!(size("viewBox=\"-1 -2 40.5 25\" width=\"100%\""), Ok((41, 25)));
    assert_eq!(size("viewBox=\"0,0,40,25\""), Ok((40, 25)));
    assert_eq!(size("width=\"300\" height=\"200px\""), Ok((300, 200)));
    assert_eq!(size("width=\"25.4mm\" height=\"1in\""), Ok((96, 96)));
    for bad in [
        "",
        "width=\"100%\" height=\"5\"",
        "viewBox=\"0 0 40\"",
        "viewBox=\"0 0 0 5\"",
        "viewBox=\"0 0 1e9 5\"",
        "viewBox=\"0 0 NaN 5\"",
        "viewBox=\"inf 0 5 5\"",
        "width=\"-5\" height=\"5\"",
    ] {
        assert!(matches!(size(bad), Err(PlanImageError::Svg(_))), "{bad}");
    }
}

#[test]
fn what_could_act_is_left_out() {
    for attack in [
        "<script>alert(1)</script>",
        "<script href=\"data:text/javascript,alert(1)\"/>",
        "<SCRIPT>alert(1)</SCRIPT>",
        "<s:script xmlns:s=\"http://www.w3.org/2000/svg\">alert(1)</s:script>",
        "<script><![CDATA[alert(1)]]></script>",
        "<foreignObject><body xmlns=\"http://www.w3.org/1999/xhtml\"><img src=\"x\" onerror=\"alert(1)\"/></body></foreignObject>",
        "<h:iframe xmlns:h=\"http://www.w3.org/1999/xhtml\" src=\"javascript:alert(1)\"/>",
        "<iframe src=\"https://example.com\"/>",
        "<animate attributeName=\"href\" values=\"javascript:alert(1)\"/>",
        "<set attributeName=\"onmouseover\" to=\"alert(1)\"/>",
        "<handler type=\"application/ecmascript\">alert(1)</handler>",
        "<image href=\"https://example.com/track.png\"/>",
        "<image href=\"data:image/svg+xml;base64,PHN2Zy8+\"/>",
        "<image href=\"data:text/html,&lt;script&gt;alert(1)&lt;/script&gt;\"/>",
        "<image href=\"data:image/png;base64,PHN2ZyB4bWxucz0n\"/>",
        "<feImage href=\"https://example.com\"/>",
        "<metadata><rdf:RDF xmlns:rdf=\"x\"/></metadata>",
        "<?xml-stylesheet href=\"https://example.com/a.css\"?>",
        "<!-- <script>alert(1)</script> -->",
        "<style>@import url(https://example.com/a.css);</style>",
        "<style>@import 'https://example.com/a.css'; </style>",
        "<style>@font-face { font-family: x; src: url(https://example.com/a.woff) }</style>",
        "<style>rect { background: url(https://example.com/a.png) }</style>",
        "<style>rect { fill: url(#a) }</style>",
        "<style>rect { behavior: url(a.htc) } a { -moz-binding: url(x) }</style>",
        "<style>@me/**/dia all { rect { fill: red } }</style>",
        "<style>r\\65 ct { f\\69ll: red }</style>",
        "<style>&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt;</style>",
    ] {
        let left = left(attack);
        assert!(left.is_empty() || left == "<style></style>", "{attack}: {left}");
    }
}

#[test]
fn attributes_that_could_act_are_left_out() {
    for attack in [
        "onload=\"alert(1)\"",
        "ONLOAD=\"alert(1)\"",
        "onclick='alert(1)'",
        "href=\"javascript:alert(1)\"",
        "xlink:href=\"javascript:alert(1)\"",
        "xlink:href=\"&#106;avascript:alert(1)\"",
        "href=\"https://example.com\"",
        "style=\"background: url(https://example.com)\"",
        "style=\"fill: url('//example.com/a.svg#a')\"",
        "style=\"fill: u\\72l(https://example.com)\"",
        "style=\"fill: ur/**/l(https://example.com)\"",
        "style=\"width: expression(alert(1))\"",
        "fill=\"url(https://example.com/a.svg#x)\"",
        "fill=\"url( 'data:image/svg+xml,x' )\"",
        "fill=\"URL(//example.com)\"",
        "fill=\"image-set('https://example.com' 1x)\"",
        "filter=\"url(#f)\"",
        "xmlns:x=\"http://www.w3.org/1999/xhtml\"",
        "xml:base=\"https://example.com/\"",
        "data-x=\"1\"",
        "id=\"a b\"",
        "cursor=\"url(x)\"",
    ] {
        let left = left(&format!("<path {attack} d=\"M0 0\"/>"));
        assert_eq!(left, "<path d=\"M0 0\"/>", "{attack}");
    }
    let root =
        read("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\" onload=\"alert(1)\"><g/></svg>").unwrap().1;
    assert!(!root.contains("onload"), "{root}");
}

#[test]
fn what_plans_need_is_kept() {
    let png = encoded(&png(8, 8));
    for (given, kept) in [
        ("<a href=\"https://example.com\"><path d=\"M0 0\"/></a>", "<g><path d=\"M0 0\"/></g>"),
        ("<rect fill=\"url(#p)\" style=\"stroke: rgb(1, 2, 3); fill: url(#p)\"/>", ""),
        ("<use href=\"#kept\" transform=\"translate(1 2) rotate(3)\"/>", ""),
        ("<use xlink:href=\"#kept\"/>", ""),
        (
            "<text x=\"1\">A &amp; B &lt;c&gt; &#233;<tspan>d</tspan></text>",
            "<text x=\"1\">A &amp; B &lt;c&gt; é<tspan>d</tspan></text>",
        ),
        ("<linearGradient id=\"p\"><stop offset=\"0\" stop-color=\"red\"/></linearGradient>", ""),
        (&format!("<image href=\"data:image/png;base64,{png}\" width=\"8\" height=\"8\"/>"), ""),
        (
            "<style>/* a */ .a, .b > g { fill: red; -x: 1; stroke : #fff !important }</style>",
            "<style>.a, .b &gt; g { fill: red; stroke: #fff !important }\n</style>",
        ),
        ("<style><![CDATA[.a{fill:red}]]></style>", "<style>.a { fill: red }\n</style>"),
        ("<style>@media print { .x { fill: red } } .a { fill: red }</style>", "<style>.a { fill: red }\n</style>"),
    ] {
        let left = left(given);
        let wanted = if kept.is_empty() { given } else { kept };
        assert_eq!(left, wanted);
    }
    let (_, prefixed) = read(
        "<svg:svg xmlns:svg=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"><svg:g><svg:script/></svg:g></svg:svg>",
    )
    .unwrap();
    assert!(prefixed.ends_with("<g></g></svg>\n"), "{prefixed}");
    let (_, drawn) = read(&format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd\">{OPEN}<g/></svg>"
    ))
    .unwrap();
    assert!(!drawn.contains("DOCTYPE"), "{drawn}");
}

#[test]
fn patterns_refer_to_nothing() {
    let left = left(
        "<pattern id=\"p\" width=\"1\" height=\"1\"><rect width=\"1\" fill=\"url(#p)\"/><use href=\"#p\"/></pattern>",
    );
    assert_eq!(left, "<pattern id=\"p\" width=\"1\" height=\"1\"><rect width=\"1\"/></pattern>");
}

#[test]
fn attacks_on_the_reader_are_refused() {
    let laughs = "<!DOCTYPE svg [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    let text = |inner: &str| format!("{OPEN}{inner}</svg>");
    let nested = (0..20).map(|n| {
        let uses = format!("<use href=\"#u{}\"/>", n + 1).repeat(10);
        format!("<g id=\"u{n}\">{uses}</g>")
    });
    let nested: String = nested.chain(["<use href=\"#u0\"/><rect id=\"u20\"/>".to_owned()]).collect();
    for (attack, part) in [
        (format!("{laughs}{OPEN}<text>&b;</text></svg>"), "DOCTYPE defines entities"),
        (text("<text>&b;</text>"), "the entity \"b\""),
        (text("<path d=\"&xxe;\"/>"), "xxe"),
        (format!("<!DOCTYPE svg [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{OPEN}<text>&x;</text></svg>"), "DOCTYPE"),
        (text(&("<g>".repeat(100) + &"</g>".repeat(100))), "within each other"),
        (text(&"<g/>".repeat(200_001)), "more than 200000 elements"),
        (text(&format!("<g {}/>", (0..201).map(|n| format!("a{n}=''")).collect::<Vec<_>>().join(" "))), "attributes"),
        (text("<g id='a' id='b'/>"), "there twice"),
        (text(&nested), "draws more than"),
        (text("<g id=\"a\"><use href=\"#b\"/></g><g id=\"b\"><use href=\"#a\"/></g>"), "in a circle"),
        (text(&"<use href=\"#a\"/>".repeat(10_001)), "more than 10000 \"use\""),
        (text("<g>"), "line 1"),
        (format!("{OPEN}<g>"), "ends before"),
        (text("") + "<script/>", "two root elements"),
        (text("") + "text", "around its root"),
        ("<html xmlns=\"http://www.w3.org/1999/xhtml\"><script/></html>".to_owned(), "its root is <html>"),
        ("<svg viewBox=\"0 0 1 1\"><g/></svg>".to_owned(), "its root is <svg>"),
        (
            "<x:svg xmlns:x=\"http://www.w3.org/1999/xhtml\" viewBox=\"0 0 1 1\"></x:svg>".to_owned(),
            "its root is <x:svg>",
        ),
        ("<!-- nothing -->".to_owned(), "no root element"),
        (format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?>{OPEN}</svg>"), "encoding is UTF-7"),
        (text("<text>&#0;</text>"), ""),
        (text("<g></h>"), "line 1"),
    ] {
        match read(&attack) {
            Err(PlanImageError::Svg(message)) => assert!(message.contains(part), "{part}: {message}"),
            other => panic!("{part}: {other:?}"),
        }
    }
    let bombs = format!("{OPEN}<image href=\"data:image/png;base64,{}\"/></svg>", encoded(&png(60_000, 60_000)));
    assert!(!read(&bombs).unwrap().1.contains("image"));
}

proptest::proptest! {
    #[test]
    fn whatever_is_read_is_read_again_and_has_nothing_in_it_that_acts(
        parts in proptest::collection::vec(proptest::prop_oneof![
            proptest::sample::select(vec![
                "<g", "<script>", "</script>", "<style>", "</style>", "</g>", "<use", " href=\"#a\"", " onload=\"x\"", "/>", ">",
                " id=\"a\"", "<![CDATA[", "]]>", "&lt;script&gt;", "&#60;", "<!--", "-->", "@import", "url(", ")", "{", "}", ";",
                "<text>", "</text>", "<image", " href=\"data:text/html,x\"", "javascript:", " style=\"fill:", "\"", "'",
            ]).prop_map(str::to_owned),
            ".{0,3}",
        ], 0..24)
    ) {
        let text = format!("{OPEN}{}</svg>", parts.concat());
        if let Ok((_, safe)) = read(&text) {
            let again = read(&safe);
            prop_assert!(again.is_ok(), "{again:?}");
            prop_assert_eq!(&again.unwrap().1, &safe);
            for word in ["<script", "onload=\"", "@import url", "<!", "<?", "\"data:text", "\"javascript:"] {
                prop_assert!(!safe.contains(word), "{safe}");
            }
        }
    }
}
