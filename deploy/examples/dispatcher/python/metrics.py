"""Counters, as Prometheus reads them, on a loopback port."""

import http.server
import threading


class Metrics:
    def __init__(self, helps):
        """`helps` has for each name its type and what it means."""
        self._helps = helps
        self._values = {name: {} for name in helps}
        self._lock = threading.Lock()
        for name, (_, _, *labels) in helps.items():
            if not labels:
                self._values[name][()] = 0

    def add(self, name, amount=1, **labels):
        with self._lock:
            values = self._values[name]
            key = tuple(sorted(labels.items()))
            values[key] = values.get(key, 0) + amount

    def set(self, name, value):
        with self._lock:
            self._values[name][()] = value

    def text(self):
        lines = []
        with self._lock:
            for name, (kind, means, *_) in self._helps.items():
                lines += [f"# HELP {name} {means}", f"# TYPE {name} {kind}"]
                for labels, value in self._values[name].items():
                    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                    lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
        return "\n".join(lines) + "\n"

    def serve(self, port):
        """The port that it listens on; 0 takes a free one."""
        metrics = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = self.path == "/metrics"
                body = metrics.text().encode() if found else b"see /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_port


def _escaped(text):
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
