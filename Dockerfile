# The server on a CPU: the weights are inside the package, so that nothing is fetched when it runs.
#   docker build -t glesam .
#   export GLESAM_TOKEN=$(openssl rand -hex 16); echo "$GLESAM_TOKEN"    # the page asks for it
#   docker run --rm -p 8000:8000 -e GLESAM_TOKEN glesam
# The command works too, as you, so that it may write beside your images:
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" glesam segment photo.jpg --subject --cutout -o out/
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/glesam
COPY constraints.txt ./
# torch first, from the index of CPU builds: the default one brings gigabytes of CUDA.
RUN /opt/glesam/bin/pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE LICENSE-WEIGHTS.md ./
COPY src ./src
RUN /opt/glesam/bin/pip install --no-cache-dir -c constraints.txt ".[serve,onnx]"

FROM python:3.12-slim
COPY --from=build /opt/glesam /opt/glesam
RUN useradd --create-home --uid 10001 glesam && mkdir /data && chown glesam /data
ENV PATH=/opt/glesam/bin:$PATH \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1
USER glesam
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["glesam"]
# Listening beyond the container asks for a token: set GLESAM_TOKEN.
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
