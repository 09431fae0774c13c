"""Ambiguous paths, as used in attacks that reach another path than the checked one."""

from __future__ import annotations

from typing import Final

NASTY: Final = [
    # dot segments, plain and escaped
    *(
        b"/public/../secret/x",
        b"/public/./../secret/x",
        b"/public/x/../../secret/x",
        b"/./secret/x",
        b"/../secret/x",
    ),
    *(
        b"/public/..",
        b"/public/.",
        b"/public/../",
        b"/secret/../public/x",
        b"/secret/./x",
        b"/a/b/c/../../../secret/x",
    ),
    *(
        b"/public/%2e%2e/secret/x",
        b"/public/%2E%2e/secret/x",
        b"/public/.%2e/secret/x",
        b"/public/%2e./secret/x",
    ),
    *(b"/%2e/secret/x", b"/public/%2e", b"/public/%2e%2e", b"/secret/%2e%2e/public/x"),
    # slashes: empty segments, escaped, backslashes
    *(
        b"//secret/x",
        b"///secret/x",
        b"/public//../secret/x",
        b"/public/..//secret/x",
        b"/secret//x",
        b"//public/x",
    ),
    *(
        b"/public%2f..%2fsecret/x",
        b"/public/..%2fsecret/x",
        b"/public/..%2Fsecret%2Fx",
        b"/secret%2fx",
        b"%2fsecret/x",
    ),
    *(
        b"/%2fsecret/x",
        b"/public/%2f/secret/x",
        b"/public/%2e%2e%2fsecret/x",
        b"/%2e%2e%2fsecret/x",
        b"/public%2fx",
    ),
    *(
        b"/public\\..\\secret\\x",
        b"/public/..\\secret/x",
        b"\\secret\\x",
        b"/secret\\x",
        b"/public/\\../secret/x",
    ),
    *(
        b"/public%5c..%5csecret%5cx",
        b"/public/..%5csecret/x",
        b"/public/%5c..%5csecret",
        b"/secret%5cx",
        b"/%5csecret/x",
    ),
    # parameters
    *(
        b"/public/..;/secret/x",
        b"/public/..;a=b/secret/x",
        b"/public;/../secret/x",
        b"/secret;/x",
        b"/secret;a=b/x",
    ),
    *(
        b"/;/secret/x",
        b"/public/;/../secret/x",
        b"/secret/x;.png",
        b"/public/..%3b/secret/x",
        b"/secret%3b/x",
    ),
    *(b"/public/.;/x", b"/;a/../secret/x"),
    # escaped twice, half, or in other ways
    *(
        b"/public/%252e%252e/secret/x",
        b"/public/..%252fsecret/x",
        b"/%2573ecret/x",
        b"/%25252e%25252e/secret/x",
    ),
    *(
        b"/public/%%32%65%%32%65/secret/x",
        b"/public/%u002e%u002e/secret/x",
        b"/secre%u0074/x",
        b"/public/%2",
        b"/%",
    ),
    *(
        b"/public/%zz/x",
        b"/public/%2%65/secret",
        b"/public%25/../secret/x",
        b"/public/%25%32%65/x",
        b"/%s/%n/secret/x",
    ),
    # ends of text
    *(
        b"/secret/x%00",
        b"/secret%00/x",
        b"/public/%00/../../secret/x",
        b"/secret/x%00.png",
        b"/public/x%0d%0aHost:%20a",
    ),
    *(b"/secret/x%0a", b"/secret/x%20", b"/secret%20/x", b"/secret/x%09", b"/public/%7f", b"/secret/x%1f"),
    # delimiters of a query and a fragment
    *(
        b"/secret/x%3f/../public/x",
        b"/public/x%3f/../../secret/x",
        b"/secret/x%23/../../public/x",
        b"/secret/x#/public",
    ),
    *(
        b"/public/#/../../secret/x",
        b"/secret/x?/../../public/x",
        b"/public/x?/../../secret/x",
        b"/public/x%3fy",
    ),
    # overlong, broken and look-alike characters
    *(
        b"/public/%c0%ae%c0%ae/secret/x",
        b"/public/..%c0%afsecret/x",
        b"/%c0%afsecret/x",
        b"/public/%e0%80%ae%e0%80%ae/x",
    ),
    *(
        b"/public/%f0%80%80%ae%f0%80%80%ae/x",
        b"/public/..%c1%9csecret",
        b"/secret/%ff",
        b"/secret%ff/x",
        b"/secret/%c3",
    ),
    *(
        b"/secret/%ed%a0%80",
        b"/public/%ef%bc%8e%ef%bc%8e/secret/x",
        b"/public/..%ef%bc%8fsecret/x",
        b"/%ef%bc%8fsecret/x",
    ),
    *(
        b"/public/%e2%80%a5/secret/x",
        b"/secre%ef%bd%94/x",
        b"/public/\xc0\xae\xc0\xae/secret/x",
        b"/secret/\xff",
    ),
    *(
        b"/secret/\xc3\xa4",
        b"/public/\xef\xbc\x8e\xef\xbc\x8e/secret/x",
        b"/secret\xc2\xa0/x",
        b"/secret/%c2%85",
    ),
    # plain paths that look ambiguous
    *(
        b"/%73ecret/x",
        b"/s%65cret/%78",
        b"/%53ecret/x",
        b"/SECRET/x",
        b"/Secret/x",
        b"/%70ublic/x",
        b"/public/%78",
    ),
    *(
        b"/secret/...",
        b"/secret/..x",
        b"/secret/.x",
        b"/.../secret/x",
        b"/public/.../secret",
        b"/secret",
        b"/secret/",
    ),
    *(
        b"/secret/%C3%A4",
        b"/secret/%c3%a4",
        b"/secret/a%CC%88",
        b"/public/~x",
        b"/public/%7Ex",
        b"/public/a+b",
        b"/secret.",
    ),
    *(
        b"/public/a|b",
        b"/public/{x}",
        b'/public/"x"',
        b"/public/<x>",
        b"/public/x^y`z",
        b"/public/[x]",
        b"/public/'x'",
    ),
    *(
        b"http://other.example/secret/x",
        b"http://other.example/public/../secret/x",
        b"/http://other.example/secret/x",
    ),
    *(b"/public:80/x", b"/public@secret/x", b"/*/secret/x", b"/public/$%7bsecret%7d", b"/-/secret/x"),
]
"""Paths as sent on the request line. The client may read `public`, and tries to read `secret`."""
