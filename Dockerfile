# syntax=docker/dockerfile:1
# Two stages: wheels are built in the first, the second holds only what `lc` needs to run.
# No CUDA base image: torch's wheels bring their own CUDA libraries; run with `docker run --gpus all` to use a GPU.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY landcover_cli ./landcover_cli
COPY models ./models
RUN python -m venv /opt/lc \
 && /opt/lc/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim-bookworm
# libexpat1: GDAL's XML drivers; libgomp1: OpenMP of torch and scipy. Debian's point releases are welcome, so no pins.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1 libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 lc
COPY --from=build /opt/lc /opt/lc
ENV PATH=/opt/lc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # numba's compiled kernels; the home of the user is writable, site-packages is not.
    NUMBA_CACHE_DIR=/home/lc/.cache/numba
USER 1000
WORKDIR /data
ENTRYPOINT ["lc"]
CMD ["--help"]
