# Varnish with its built-in rules in front of the suite. scripts/conformance fills in the words between @ signs.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}
