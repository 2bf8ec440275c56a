"""Settings of a Django project that concern the store."""

DYNAKV = {
    "urls": ["http://127.0.0.1:6671", "http://127.0.0.1:6672"],
    "user": "web",
    "secret": "a long secret",
}
SESSION_ENGINE = "dynatwist.adapters.django_sessions"
CACHES = {"default": {"BACKEND": "dynatwist.adapters.django.DynakvCache", "TIMEOUT": 60}}
